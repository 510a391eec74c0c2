//! A service's governance over HTTPS, as one member.

use super::cose;
use crate::Failed;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take: an app is tried out before it is answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer: a proposal with its ballots.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Bytes of a file that is named on the command line.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The version of the interface that is spoken.
const VERSION: &str = "2024-07-01";

/// Where the service is, and who asks.
#[derive(clap::Args, Debug, Clone)]
pub struct Service {
    /// The service.
    #[arg(long, default_value = "https://127.0.0.1:8000")]
    url: String,
    /// The service's certificate, PEM [default: service_cert.pem in the workspace].
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// As whom: NAME_privk.pem and NAME_cert.pem in the workspace.
    #[arg(long, value_name = "NAME", default_value = "member0")]
    member: String,
    /// The folder with keys and certificates.
    #[arg(long, value_name = "DIR", default_value = "workspace/sandbox_common")]
    workspace: PathBuf,
}

/// A service and a member's key.
pub struct Member {
    agent: ureq::Agent,
    url: String,
    id: String,
    key: String,
    cert: String,
}

/// A file that is named on the command line.
pub fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    let failed = |why: String| Failed::unable(format!("{}: {why}", path.display()));
    let len = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if len > MAX_FILE_BYTES {
        return Err(failed(format!("the file has {len} bytes, more than {MAX_FILE_BYTES}")));
    }
    fs::read(path).map_err(|error| failed(error.to_string()))
}

fn read_text(path: &Path) -> Result<String, Failed> {
    String::from_utf8(read(path)?).map_err(|_| Failed::unable(format!("{} is not text", path.display())))
}

impl Service {
    /// Reads keys and certificates. Nothing is sent yet.
    pub fn connect(&self) -> Result<Member, Failed> {
        let url = self.url.trim_end_matches('/').to_owned();
        if !url.starts_with("https://") {
            return Err(Failed::unable(format!("{url}: the address of a service begins with https://")));
        }
        let file = |suffix: &str| self.workspace.join(format!("{}_{suffix}.pem", self.member));
        let (key, cert) = (read_text(&file("privk"))?, read_text(&file("cert"))?);
        let id = cose::certificate_id(&cert).map_err(|why| Failed::unable(format!("{}: {why}", file("cert").display())))?;
        let cacert = self.cacert.clone().unwrap_or_else(|| self.workspace.join("service_cert.pem"));
        let root = Certificate::from_pem(&read(&cacert)?)
            .map_err(|_| Failed::unable(format!("{} holds no certificate", cacert.display())))?;
        Ok(Member { agent: agent(root), url, id, key, cert })
    }
}

/// Trusts one certificate and nothing else.
fn agent(root: Certificate<'static>) -> ureq::Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = RootCerts::new_with_certs(&[root]);
    let config = ureq::Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build())
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(REQUEST_TIMEOUT))
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .build();
    ureq::Agent::new_with_config(config)
}

impl Member {
    /// The member's id.
    pub fn member_id(&self) -> &str {
        &self.id
    }

    /// Signs and sends. The answer is JSON, null if there is none; a refusal is a failure with the service's words.
    pub fn send(&self, path: &str, kind: &str, proposal: Option<&str>, payload: &[u8]) -> Result<Value, Failed> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as i64;
        let body = cose::sign1(kind, proposal, now_s, payload, &self.key, &self.cert).map_err(Failed::unable)?;
        let url = format!("{}/gov/{path}?api-version={VERSION}", self.url);
        let lost = |error: ureq::Error| Failed::unable(format!("{}: {}", self.url, explained(&error)));
        let sent = self.agent.post(&url).content_type("application/cose").send(&body[..]);
        let mut response = sent.map_err(lost)?;
        let status = response.status();
        let said = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(lost)?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&said).unwrap_or_default());
        }
        Err(Failed::new(refusal(status.as_u16(), &said)))
    }
}

fn explained(error: &ureq::Error) -> String {
    let text = error.to_string();
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
            format!("{text}; is --cacert the certificate of this service, and not of one before?")
        }
        _ => text,
    }
}

/// What the service says, in words.
fn refusal(status: u16, body: &[u8]) -> String {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &said["error"];
    let Some(message) = error["message"].as_str() else {
        return format!("the service refuses it with status {status}");
    };
    let code = error["code"].as_str().unwrap_or_default();
    let mut text = format!("the service refuses it: {message} ({status} {code})");
    for detail in error["details"].as_array().into_iter().flatten() {
        if let Some(message) = detail["message"].as_str() {
            text.push_str("\n  ");
            text.push_str(message);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_words() {
        let body = br#"{"error":{"code":"InvalidAuthenticationInfo","message":"No.","details":[{"message":"not active"}]}}"#;
        assert_eq!(refusal(401, body), "the service refuses it: No. (401 InvalidAuthenticationInfo)\n  not active");
        assert_eq!(refusal(502, b"<html>"), "the service refuses it with status 502");
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let service =
            |url: &str| Service { url: url.into(), cacert: None, member: "member0".into(), workspace: dir.path().to_owned() };
        let why = |service: Service| service.connect().map(drop).expect_err("nothing is there").message;
        assert!(why(service("http://127.0.0.1:8000")).contains("begins with https://"));
        assert!(why(service("https://127.0.0.1:8000")).contains("member0_privk.pem"));
        fs::write(dir.path().join("member0_privk.pem"), "").expect("written");
        fs::write(dir.path().join("member0_cert.pem"), "no certificate").expect("written");
        assert!(why(service("https://127.0.0.1:8000/")).contains("member0_cert.pem: "));
    }
}
