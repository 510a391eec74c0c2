//! Which issuer a key may speak for.
//!
//! A key in the state may have a constraint: the issuer that its tokens must name. Keys of Microsoft Entra are shared by all
//! tenants; their constraint has `{tenantid}` where a token's issuer has the tenant, which the token names again in `tid`.

/// The only host whose tokens have a `tid`.
const ENTRA_HOST: &str = "login.microsoftonline.com";
const TENANT: &str = "{tenantid}";

/// Whether a token with these claims may be signed with a key that has this constraint.
pub(super) fn satisfies(constraint: &str, iss: &str, tid: Option<&str>) -> bool {
    if host(constraint) != ENTRA_HOST {
        return iss == constraint && tid.is_none();
    }
    let Some(tid) = tid else { return false };
    iss == constraint.replacen(TENANT, tid, 1) && path(iss).split('/').find(|part| !part.is_empty()) == Some(tid)
}

/// Whether keys of `issuer` may be constrained to `constraint`: to its own host, or one that its host is under.
pub(super) fn may_constrain(issuer: &str, constraint: &str) -> bool {
    let (issuer, constraint) = (host(issuer), host(constraint));
    !constraint.is_empty() && (issuer == constraint || issuer.strip_suffix(constraint).is_some_and(|rest| rest.ends_with('.')))
}

/// The host of a URL, empty where it has none. By RFC 3986, appendix B, and without the port.
fn host(url: &str) -> &str {
    let Some(rest) = after_scheme(url).strip_prefix("//") else { return "" };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    // The colons of an IPv6 address stand before its closing bracket.
    let from = authority.rfind(']').unwrap_or(0);
    &authority[..authority[from..].find(':').map_or(authority.len(), |at| from + at)]
}

fn path(url: &str) -> &str {
    let rest = after_scheme(url);
    let rest = match rest.strip_prefix("//") {
        Some(rest) => &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..],
        None => rest,
    };
    &rest[..rest.find(['?', '#']).unwrap_or(rest.len())]
}

fn after_scheme(url: &str) -> &str {
    match url.find([':', '/', '?', '#']) {
        Some(at) if at > 0 && url[at..].starts_with(':') => &url[at + 1..],
        _ => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        let entra = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let of = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
        assert!(satisfies(entra, &of("t1"), Some("t1")));
        assert!(!satisfies(entra, &of("t1"), Some("t2")));
        assert!(!satisfies(entra, &of("t1"), None));
        assert!(!satisfies(entra, entra, None));
        // One tenant alone: the constraint names it.
        assert!(satisfies(&of("t1"), &of("t1"), Some("t1")));
        assert!(!satisfies(&of("t1"), &of("t1"), None));
        assert!(!satisfies(&of("t1"), &of("t2"), Some("t2")));
        // Elsewhere a tenant has no meaning.
        assert!(satisfies("https://a.example/x", "https://a.example/x", None));
        assert!(!satisfies("https://a.example/x", "https://a.example/x", Some("t")));
        assert!(!satisfies("https://a.example/x", "https://a.example/", None));
        // A tenant that is a path of its own is not a tenant.
        assert!(!satisfies(entra, &of("a/b"), Some("a/b")));
        assert!(!satisfies(entra, &of(""), Some("")));
    }

    #[test]
    fn who_may_constrain_whom() {
        for (issuer, constraint, may) in [
            ("https://a.example/", "https://a.example/x", true),
            ("https://limited.a.example", "https://a.example", true),
            ("https://a.example", "https://limited.a.example", false),
            ("https://bada.example", "https://a.example", false),
            ("https://a.example:8443/x", "https://a.example", true),
            ("https://a.example", "a.example", false),
            ("https://a.example", "", false),
            ("https://[::1]:80/", "https://[::1]/", true),
            ("a.example", "https://a.example", false),
        ] {
            assert_eq!(may_constrain(issuer, constraint), may, "{issuer} {constraint}");
        }
    }
}
