//! Deploys a bundle again whenever one of its files is saved.

use super::govern::Governance;
use crate::govern::bundle::bundle_of;
use std::path::PathBuf;
use std::time::Duration;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(250);

pub async fn watch(folder: PathBuf, governance: Governance) {
    let mut deployed = bundle_of(&folder).ok();
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = match bundle_of(&folder) {
            Ok(now) => now,
            Err(failed) => {
                // Said once: a file may be half written.
                if failed.message != complaint {
                    complaint = failed.message;
                    eprintln!("Not deployed: {complaint}");
                }
                continue;
            }
        };
        complaint.clear();
        if deployed.as_ref() == Some(&now) {
            continue;
        }
        match governance.deploy(&now).await {
            Ok(()) => println!("Deployed {} again", folder.display()),
            Err(failed) => eprintln!("Not deployed: {}", failed.message),
        }
        deployed = Some(now);
    }
}
