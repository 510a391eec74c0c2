//! Apps without proposals.

use super::*;

const BUNDLE: &str = "/app/custom_endpoints";
const OPTIONS: &str = "/app/custom_endpoints/runtime_options";

fn app() -> Value {
    let endpoint =
        json!({ "js_module": "a.js", "js_function": "f", "forwarding_required": "never", "authn_policies": ["no_auth"] });
    json!({
        "metadata": { "endpoints": { "/f": { "get": endpoint } } },
        "modules": [{ "name": "a.js", "module": "export function f() {}" }],
    })
}

fn developing() -> Fake {
    let mut fake = Fake::new();
    fake.put(DEVELOPMENT, SINGLETON, b"true");
    fake.put(USER_CERTS, USER.id().as_bytes(), USER.cert.as_bytes());
    fake.put(USER_INFO, USER.id().as_bytes(), br#"{"user_data":{"isAdmin":true}}"#);
    fake.put(MODULES, b"/old.js", b"");
    fake
}

fn signed(fake: &mut Fake, method: &str, target: &str, kind: &str, at: i64, payload: &Value) -> Response {
    let headers = [("app.msg.type", Cbor::from(kind)), ("app.msg.created_at", Cbor::from(at))];
    let body = USER.sign(&headers, payload.to_string().as_bytes());
    fake.send(method, target, "application/cose", body)
}

fn with_certificate(fake: &mut Fake, method: &str, target: &str, payload: &Value) -> Response {
    let request = Request {
        method: method.into(),
        target: target.into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: payload.to_string().into_bytes(),
        certificate: Some(pem::parse(USER.cert).unwrap().into_contents()),
        time_ms: 1_900_000_000_000,
    };
    super::super::handle(fake, &request, &mut Cache::new()).unwrap()
}

#[test]
fn it_is_for_developers_only() {
    let mut fake = developing();
    fake.remove(DEVELOPMENT, SINGLETON);
    assert_eq!(code(&with_certificate(&mut fake, "PUT", BUNDLE, &app())), (404, "ResourceNotFound".into()));
    assert_eq!(message(&fake.look(BUNDLE)), "Unknown path: /custom_endpoints.");
    let mut fake = developing();
    assert_eq!(code(&fake.send("PUT", BUNDLE, "application/json", vec![])), (401, "InvalidAuthenticationInfo".into()));
    fake.put(USER_INFO, USER.id().as_bytes(), br#"{"user_data":{"isAdmin":1}}"#);
    assert_eq!(code(&with_certificate(&mut fake, "PUT", BUNDLE, &app())), (403, "AuthorizationFailed".into()));
    assert_eq!(code(&with_certificate(&mut fake, "POST", BUNDLE, &app())), (405, "UnsupportedHttpVerb".into()));
}

#[test]
fn an_app_by_one_request() {
    for by_certificate in [true, false] {
        let mut fake = developing();
        let response = match by_certificate {
            true => with_certificate(&mut fake, "PUT", "/custom_endpoints", &app()),
            false => signed(&mut fake, "PUT", BUNDLE, "custom_endpoints", 1_700_000_000, &app()),
        };
        assert_eq!(response, Response::empty(204));
        let row = fake.get(ENDPOINTS, b"GET /f").unwrap().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&row),
            r#"{"authn_policies":["no_auth"],"forwarding_required":"never","js_function":"f","js_module":"/a.js"}"#
        );
        let shown = body(&fake.look(BUNDLE));
        assert_eq!(shown["modules"], json!([{ "name": "/a.js", "module": "export function f() {}" }]));
        assert_eq!(shown["metadata"]["endpoints"]["/f"]["GET"]["js_function"], "f");
        let module = fake.look("/app/custom_endpoints/modules?module_name=a.js");
        assert_eq!(module.body, b"export function f() {}");
        assert_eq!(fake.look("/app/custom_endpoints/modules?module_name=b.js").status, 404);
        assert_eq!(fake.get(INTERPRETER_FLUSH, SINGLETON).unwrap().unwrap(), b"true");
    }
}

#[test]
fn a_signed_app_counts_once() {
    let mut fake = developing();
    let headers = [("app.msg.type", Cbor::from("custom_endpoints")), ("app.msg.created_at", Cbor::from(1_700_000_000))];
    let bytes = USER.sign(&headers, app().to_string().as_bytes());
    assert_eq!(fake.send("PUT", BUNDLE, "application/cose", bytes.clone()).status, 204);
    assert_eq!(code(&fake.send("PUT", BUNDLE, "application/cose", bytes)), (400, "InvalidInput".into()));
    let other = signed(&mut fake, "PUT", BUNDLE, "runtime_options", 1_700_000_001, &app());
    assert_eq!(code(&other), (400, "InvalidInput".into()));
    let bare = USER.sign(&[], app().to_string().as_bytes());
    assert_eq!(code(&fake.send("PUT", BUNDLE, "application/cose", bare)), (400, "MissingRequiredHeader".into()));
}

#[test]
fn an_app_that_is_wrong() {
    let mut fake = developing();
    let before = fake.tables.clone();
    for (from, to, expected) in [
        (r#""js_module":"a.js""#, r#""js_module":"b.js""#, "GET /f: module 'b.js' not found in bundle"),
        ("never", "perhaps", "GET /f: forwarding_required must be one of sometimes, always, never"),
        (r#"["no_auth"]"#, r#"[7]"#, "GET /f: authn_policies: "),
        (r#""js_function":"f","#, "", "GET /f: js_function must be a string"),
        (r#""modules""#, r#""module_list""#, "The body is no bundle: missing field `modules`"),
        (r#""name":"a.js""#, r#""name":"x/../a.js""#, "GET /f: module 'a.js' not found in bundle"),
    ] {
        let text = app().to_string().replace(from, to);
        let refused = with_certificate(&mut fake, "PUT", BUNDLE, &serde_json::from_str(&text).unwrap());
        assert_eq!(code(&refused), (400, "InvalidInput".into()), "{text}");
        assert!(message(&refused).starts_with(expected), "{}", message(&refused));
    }
    fake.app_fails = Some("Failed to compile module '/a.js'");
    assert_eq!(message(&with_certificate(&mut fake, "PUT", BUNDLE, &app())), "Failed to compile module '/a.js'");
    assert_eq!(fake.tables, before);
}

#[test]
fn options() {
    let mut fake = developing();
    let usual = body(&fake.look(OPTIONS));
    assert_eq!(usual["max_cached_interpreters"], 10);
    let changed = with_certificate(&mut fake, "PATCH", OPTIONS, &json!({ "max_heap_bytes": 42, "log_exception_details": true }));
    assert_eq!((changed.status, body(&changed)["max_heap_bytes"].as_u64()), (200, Some(42)));
    assert_eq!(fake.look(OPTIONS), changed);
    for wrong in [json!({ "max_heap_bytes": "1" }), json!({ "nothing": 1 }), json!([]), json!({ "log_exception_details": 1 })] {
        assert_eq!(code(&with_certificate(&mut fake, "PATCH", OPTIONS, &wrong)), (400, "InvalidInput".into()), "{wrong}");
    }
}
