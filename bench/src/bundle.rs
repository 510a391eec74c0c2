//! What a bundle's requests cost: a counter in a table, over TLS, with a fresh realm for each request.

use crate::https::{self, Load};
use crate::process::{self, Server};
use crate::table::{Row, Target};
use crate::{Loads, Plan, least};
use std::error::Error;
use std::path::Path;

/// The example that is served: its counter.
const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/banking");
const PATH: &str = "/app/visits";
const CONNECTIONS: usize = 50;

/// Measures a bundle.
pub fn rows(plan: &Plan) -> Result<Vec<Row>, Box<dyn Error>> {
    let [mut writes, mut reads, mut alone, mut receipted] = [(); 4].map(|()| Loads::default());
    let (mut serving_ms, mut restart_ms, mut rss_mb) = (Vec::new(), Vec::new(), Vec::new());
    let (mut disk, mut verify_ms) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let workspace = plan.dir.join(format!("workspace-{round}"));
        let server = Server::sandbox(&plan.binary, BUNDLE.as_ref(), &workspace)?;
        serving_ms.push(server.serving_after.as_secs_f64() * 1e3);
        let roots = workspace.join("sandbox_common/service_cert.pem");
        let small = process::disk_bytes(&workspace)?;
        let load =
            |method, connections, requests| Load { roots: &roots, port: server.port, method, path: PATH, connections, requests };
        https::run(load("POST", CONNECTIONS, 1_000))?;
        writes.add(&server, || https::run(load("POST", CONNECTIONS, plan.calls)))?;
        https::run(load("GET", CONNECTIONS, 1_000))?;
        reads.add(&server, || https::run(load("GET", CONNECTIONS, plan.calls)))?;
        alone.add(&server, || https::run(load("POST", 1, plan.calls / 10)))?;
        let receipts = (plan.calls / 50).max(20);
        receipted.add(&server, || https::receipted(load("POST", 1, receipts)))?;
        rss_mb.push(server.rss_mb()?);
        server.stop()?;
        let written = (1_000 + plan.calls + plan.calls / 10 + receipts) as f64;
        disk.push((process::disk_bytes(&workspace)?.allocated - small.allocated) as f64 / written);
        verify_ms.push(process::verify(&plan.binary, &workspace.join("sandbox_0"), 1)?.cpu_ms / written * 1e3);
        let server = Server::sandbox(&plan.binary, BUNDLE.as_ref(), &workspace)?;
        restart_ms.push(server.serving_after.as_secs_f64() * 1e3);
        server.stop()?;
    }
    Ok(vec![
        writes
            .cpu_row("bundle, a counter in a table, TLS, 50 connections")
            .target(Target::AtMost(50.0))
            .quoted("257 µs, no fsync"),
        writes
            .rate_row("… writes per second, each reply after fsync")
            .target(Target::AtLeast(12_000.0))
            .quoted("4,376/s, no fsync"),
        reads.cpu_row("bundle, a read of a table, TLS, 50 connections").target(Target::AtMost(35.0)).quoted("235 µs"),
        reads.rate_row("… reads per second").target(Target::AtLeast(20_000.0)).quoted("4,842/s"),
        Row::new("… one connection: a durable write at the median", "ms", &alone.p50_ms)
            .detail(format!("p99 {:.2} ms; {:.0} µs CPU", least(&alone.p99_ms), least(&alone.cpu_us)))
            .target(Target::AtMost(0.7))
            .quoted("1.2 ms, no fsync"),
        Row::new("… one connection: a write and its receipt, at the median", "ms", &receipted.p50_ms)
            .detail(format!("p99 {:.2} ms", least(&receipted.p99_ms)))
            .target(Target::AtMost(5.0))
            .quoted("629 ms"),
        Row::new("… audit, per 1,000 requests", "ms CPU", &verify_ms),
        Row::new("… disk: ledger and state after a clean stop", "bytes/write", &disk),
        Row::new("… restart after all loads", "ms", &restart_ms),
        Row::new("… `sandbox` to serving, new workspace", "ms", &serving_ms),
        Row::most("… resident after all loads", "MB", &rss_mb),
    ])
}

/// Loads a bundle that is served already.
pub fn attached(port: u16, roots: &Path, requests: usize) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for method in ["POST", "GET"] {
        let measured = https::run(Load { roots, port, method, path: PATH, connections: CONNECTIONS, requests })?;
        let detail = format!("p50 {:.2} ms, p99 {:.2} ms", measured.latency_ms(0.5), measured.latency_ms(0.99));
        rows.push(Row::most(format!("{method} {PATH}"), "requests/s", &[measured.per_second()]).detail(detail));
    }
    Ok(rows)
}
