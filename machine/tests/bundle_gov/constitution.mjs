// Runs the constitutions in Node with a small `ccf`: node --test machine/tests/bundle_gov/constitution.mjs
import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "node:test";

const here = new URL("../../src/bundle/gov/constitution/", import.meta.url);
const read = (name) => readFileSync(new URL(`${name}.js`, here), "utf8");
const PARTS = ["checks", "app", "tokens", "actions", "validate"].map(read);
const load = (resolve) => import(`data:text/javascript,${encodeURIComponent([...PARTS, read(resolve)].join("\n"))}`);

const CERT = readFileSync(new URL("data/member0_cert.pem", import.meta.url), "utf8");
const OTHER = readFileSync(new URL("data/member1_cert.pem", import.meta.url), "utf8");
const ID = createHash("sha256").update(new X509Certificate(CERT).raw).digest("hex");

const toBuf = (text) => new Uint8Array(Buffer.from(text)).buffer;
const toText = (buf) => Buffer.from(buf).toString();

// Tables are Maps of text to text; the key of a table with one row is eight zero bytes.
function fake() {
  const tables = new Map();
  const effects = [];
  const rows = (name) => tables.get(name) ?? tables.set(name, new Map()).get(name);
  const handle = (name) => ({
    has: (key) => rows(name).has(toText(key)),
    get: (key) => (rows(name).has(toText(key)) ? toBuf(rows(name).get(toText(key))) : undefined),
    set(key, value) {
      assert.ok(key instanceof ArrayBuffer && value instanceof ArrayBuffer, "keys and values are buffers");
      rows(name).set(toText(key), toText(value));
    },
    delete: (key) => void rows(name).delete(toText(key)),
    clear: () => rows(name).clear(),
    forEach: (each) => [...rows(name)].forEach(([key, value]) => each(toBuf(value), toBuf(key))),
  });
  const effect = (name) => (...args) => void effects.push([name, ...args]);
  const valid = (pem) => {
    try {
      return typeof new X509Certificate(pem).raw === "object";
    } catch {
      return false;
    }
  };
  globalThis.ccf = {
    kv: new Proxy({}, { get: (_, name) => handle(name) }),
    strToBuf: toBuf,
    bufToStr: toText,
    jsonCompatibleToBuf: (value) => toBuf(JSON.stringify(value)),
    bufToJsonCompatible: (buf) => JSON.parse(toText(buf)),
    pemToId: (pem) => createHash("sha256").update(new X509Certificate(pem).raw).digest("hex"),
    crypto: { isValidX509CertBundle: valid },
    gov: { validateConstitution: effect("validateConstitution") },
    node: new Proxy({}, { get: (_, name) => effect(name) }),
    refreshAppBytecodeCache: effect("refreshAppBytecodeCache"),
    setJwtPublicSigningKeys: effect("setJwtPublicSigningKeys"),
    removeJwtPublicSigningKeys: effect("removeJwtPublicSigningKeys"),
  };
  const table = (name) => Object.fromEntries([...rows(`public:ccf.gov.${name}`)]);
  const json = (name) => Object.fromEntries(Object.entries(table(name)).map(([key, value]) => [key, JSON.parse(value)]));
  return { effects, table, json, rows: (name) => rows(`public:ccf.gov.${name}`) };
}

const ONE = "\0".repeat(8);
const { validate, apply, resolve } = await load("resolve_default");
const sandbox = await load("resolve_sandbox");

const proposal = (...actions) => JSON.stringify({ actions: actions.map(([name, args]) => ({ name, args })) });
function act(state, name, args, id = "p") {
  const text = proposal([name, args]);
  assert.deepEqual(validate(text), { valid: true, description: "" });
  apply(text, id);
  return state;
}
const refused = (name, args) => {
  fake();
  const { valid, description } = validate(proposal([name, args]));
  assert.equal(valid, false, `${name} ${JSON.stringify(args)} was not refused`);
  return description;
};

const endpoint = {
  js_module: "app.js", js_function: "f", mode: "readonly", forwarding_required: "never", authn_policies: ["user_cert"],
};
const app = (change = {}) => ({
  bundle: {
    metadata: { endpoints: { "/f/{x}": { get: { ...endpoint, ...change } } } },
    modules: [{ name: "app.js", module: "export function f() {}" }],
  },
});

test("exports have the lengths that are asked for", () => {
  assert.deepEqual([validate.length, resolve.length, apply.length, sandbox.resolve.length], [1, 4, 2, 4]);
});

test("a proposal that is none", () => {
  assert.throws(() => validate("{"), SyntaxError);
  for (const text of ["null", "{}", '{"actions":[]}', '{"actions":{}}']) assert.equal(validate(text).valid, false, text);
  assert.equal(validate(proposal(["fly", {}])).description, "fly: no such action");
  assert.equal(validate(proposal(["constructor", {}])).description, "constructor: no such action");
  assert.equal(validate('{"actions":[null]}').description, "undefined: no such action");
});

test("all that is wrong is named", () => {
  fake();
  const { description } = validate(proposal(["set_user", { cert: "x" }], ["remove_user", { user_id: "7" }]));
  assert.equal(
    description,
    "set_user at position 0 failed validation: Error: cert must be a valid X509 certificate (bundle) in PEM format, " +
      "remove_user at position 1 failed validation: Error: user_id must be an id: 64 hexadecimal digits",
  );
});

test("users and members", () => {
  const state = act(fake(), "set_user", { cert: CERT, user_data: { isAdmin: true } });
  assert.deepEqual(state.table("users.certs"), { [ID]: CERT });
  assert.deepEqual(state.json("users.info"), { [ID]: { user_data: { isAdmin: true } } });
  act(state, "set_user_data", { user_id: ID });
  assert.deepEqual(state.json("users.info"), {});
  act(state, "remove_user", { user_id: ID });
  assert.deepEqual(state.table("users.certs"), {});
  act(state, "set_member", { cert: CERT, member_data: { name: "Ada" }, encryption_pub_key: "PEM" });
  assert.deepEqual(state.json("members.info"), { [ID]: { member_data: { name: "Ada" }, status: "Accepted" } });
  assert.deepEqual(state.table("members.encryption_public_keys"), { [ID]: "PEM" });
  act(state, "set_member_data", { member_id: ID, member_data: { name: "Bo" } });
  assert.equal(state.json("members.info")[ID].member_data.name, "Bo");
  act(state, "remove_member", { member_id: ID });
  for (const name of ["certs", "info", "acks", "encryption_public_keys"]) assert.deepEqual(state.table(`members.${name}`), {});
  assert.throws(() => act(state, "set_member_data", { member_id: ID, member_data: {} }), /does not exist/);
});

test("an app replaces the one before", () => {
  const state = act(fake(), "set_js_app", app());
  state.rows("modules").set("/old.js", "");
  act(state, "set_js_app", app({ extra: 1, interpreter_reuse: { key: "k" }, openapi: {}, openapi_hidden: true }));
  assert.deepEqual(state.table("modules"), { "/app.js": "export function f() {}" });
  const kept = { ...endpoint, js_module: "/app.js", extra: 1, interpreter_reuse: { key: "k" }, openapi: {}, openapi_hidden: true };
  assert.deepEqual(state.json("endpoints"), { "GET /f/{x}": kept });
  assert.equal(state.table("interpreter.flush")[ONE], "true");
  assert.deepEqual(state.effects.at(-1), ["refreshAppBytecodeCache"]);
  act(state, "remove_js_app");
  assert.deepEqual([state.table("modules"), state.table("endpoints")], [{}, {}]);
});

test("an app that is wrong", () => {
  const why = (change) => refused("set_js_app", app(change)).replace(/^.*failed validation: Error: /, "");
  const where = 'bundle.metadata.endpoints["/f/{x}"].get';
  assert.equal(why({ js_module: "b.js" }), `${where}: module 'b.js' not found in bundle`);
  assert.equal(why({ mode: undefined }), `${where}.mode must be one of readwrite, readonly, historical`);
  assert.equal(why({ forwarding_required: "no" }), `${where}.forwarding_required must be one of sometimes, always, never`);
  assert.equal(why({ authn_policies: "jwt" }), `${where}.authn_policies must be an array`);
  assert.equal(why({ js_function: "" }), `${where}.js_function must be a string that is not empty`);
  assert.equal(why({ interpreter_reuse: {} }), `${where}.interpreter_reuse.key must be a string that is not empty`);
  assert.match(why({ authn_policies: [{ all_of: [] }] }), /authn_policies\[0\] must be a name/);
  assert.match(refused("set_js_app", {}), /bundle must be an object/);
  assert.match(refused("set_js_app", undefined), /args must be an object/);
  assert.match(refused("set_js_app", { bundle: { metadata: {}, modules: [] } }), /bundle.metadata.endpoints must be an object/);
  assert.match(refused("set_js_app", { bundle: { metadata: { endpoints: {} }, modules: [{}] } }), /modules\[0\].name must be/);
  const twice = app();
  twice.bundle.modules.push({ name: "/app.js", module: "" });
  assert.match(refused("set_js_app", twice), /'\/app.js' is in the bundle twice/);
});

test("options", () => {
  const args = { max_heap_bytes: 1 << 20, max_stack_bytes: 1 << 20, max_execution_time_ms: 100, return_exception_details: true };
  assert.deepEqual(act(fake(), "set_js_runtime_options", args).json("js_runtime_options"), { [ONE]: args });
  assert.match(refused("set_js_runtime_options", { ...args, max_heap_bytes: "1" }), /max_heap_bytes must be an integer/);
  assert.match(refused("set_js_runtime_options", { max_heap_bytes: 1 }), /max_stack_bytes must be/);
});

test("issuers", () => {
  const jwks = { keys: [{ kid: "1", kty: "RSA", n: "AQ", e: "AQAB" }] };
  const state = act(fake(), "set_jwt_issuer", { issuer: "https://i", key_filter: "all", jwks });
  assert.deepEqual(state.json("jwt.issuers"), { "https://i": { auto_refresh: false, key_filter: "all" } });
  act(state, "set_jwt_public_signing_keys", { issuer: "https://i", jwks });
  act(state, "remove_jwt_issuer", { issuer: "https://i" });
  assert.deepEqual(state.effects.map(([name]) => name), ["setJwtPublicSigningKeys", "setJwtPublicSigningKeys", "removeJwtPublicSigningKeys"]);
  assert.throws(() => act(state, "set_jwt_public_signing_keys", { issuer: "https://i", jwks }), /issuer https:\/\/i not found/);
  assert.match(refused("set_jwt_issuer", { issuer: "i", auto_refresh: true }), /auto_refresh must be false/);
  assert.match(refused("set_jwt_public_signing_keys", { issuer: "i", jwks: { keys: [{ kid: "1" }] } }), /must have x5c, or n and e/);
});

test("another constitution drops what is open", () => {
  const state = fake();
  state.rows("proposals_info").set("p", '{"state":"Accepted"}').set("q", '{"state":"Open","ballots":{}}').set("r", '{"state":"Rejected"}');
  act(state, "set_constitution", { constitution: "text" });
  assert.deepEqual(state.json("constitution"), { [ONE]: "text" });
  assert.deepEqual(Object.values(state.json("proposals_info")).map(({ state }) => state), ["Accepted", "Dropped", "Rejected"]);
});

test("the service", () => {
  const state = fake();
  state.rows("service.info").set(ONE, JSON.stringify({ cert: CERT, status: "Opening" }));
  act(state, "transition_service_to_open", { next_service_identity: CERT });
  assert.deepEqual(state.effects.at(-1), ["transitionServiceToOpen", undefined, CERT]);
  act(state, "assert_service_identity", { service_identity: CERT.replaceAll("\n", "\r\n") });
  assert.throws(() => act(state, "assert_service_identity", { service_identity: OTHER }), /is not the certificate/);
  act(state, "set_service_configuration", { recent_cose_proposals_window_size: 5 });
  act(state, "set_recovery_threshold", { recovery_threshold: 1 });
  assert.deepEqual(state.json("service.config")[ONE], { recent_cose_proposals_window_size: 5, recovery_threshold: 1 });
  act(state, "set_ca_cert_bundle", { name: "ca", cert_bundle: CERT });
  assert.deepEqual(state.json("tls.ca_cert_bundles"), { ca: CERT });
  act(state, "remove_ca_cert_bundle", { name: "ca" });
  assert.deepEqual(state.json("tls.ca_cert_bundles"), {});
  for (const name of ["ledger_chunk", "snapshot", "ledger_rekey"]) act(state, `trigger_${name}`, undefined);
  assert.throws(() => act(state, "set_service_certificate_validity", { valid_from: "221101000000Z" }), /not renewed/);
  assert.match(refused("trigger_snapshot", { a: 1 }), /args must be left out/);
});

test("votes", () => {
  const state = fake();
  for (const [id, status] of [["a", "Active"], ["b", "Active"], ["c", "Active"], ["d", "Accepted"]]) {
    state.rows("members.info").set(id, JSON.stringify({ status }));
  }
  const after = (votes) => resolve("", "a", Object.entries(votes).map(([member_id, vote]) => ({ member_id, vote })), "p");
  assert.equal(after({}), "Open");
  assert.equal(after({ a: true }), "Open");
  assert.equal(after({ a: true, d: true }), "Open", "who is not active does not count");
  assert.equal(after({ a: true, b: true }), "Accepted");
  assert.equal(after({ a: false, b: true }), "Open");
  assert.equal(after({ a: false, b: false, c: false }), "Open");
  assert.equal(sandbox.resolve("", "a", [], "p"), "Accepted");
});
