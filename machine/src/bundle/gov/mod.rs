//! Stand-in.
use super::auth;
use super::request::{Request, Response};
use super::store::{Rows, RowsMut};
use crate::Fault;
use sandbox::Failure;
use serde_json::Value;
/// x
pub trait Governing: RowsMut {
    /// x
    fn clear(&mut self, map: &str) -> Result<(), Fault>;
    /// x
    fn run(&mut self, kind: &str, file: &str, source: &str, export: &str, args: &str) -> Result<Result<String, Failure>, Fault>;
    /// x
    fn shape(&mut self, file: &str, source: &str, names: &[&str]) -> Result<Result<Value, Failure>, Fault>;
    /// x
    fn try_out(&mut self, bundle: &Value) -> Result<Result<(), String>, Fault>;
    /// x
    fn root(&self) -> [u8; 32];
    /// x
    fn view_seqno(&self) -> (u64, u64);
}
/// x
pub fn handle(_: &mut dyn Governing, _: &Request, _: &mut auth::Cache) -> Result<Response, Fault> {
    Ok(Response::empty(404))
}
/// x
pub fn view(_: &dyn Rows, _: &Request, _: &mut auth::Cache) -> Result<Response, Fault> {
    Ok(Response::empty(404))
}
/// x
pub fn effect(_: &mut dyn Governing, _: &str, _: &Value, _: u64) -> Result<Result<Option<String>, (String, String)>, Fault> {
    Ok(Ok(None))
}
/// x
pub mod custom {
    /// x
    pub fn is_custom(path: &str) -> bool {
        path.starts_with("/app/custom_endpoints")
    }
}
