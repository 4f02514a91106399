//! The store of packages that the lab's own server keeps, as a repository among others.

use muster_api::Client;
use muster_core::inputs::Needed;
use muster_package::own::{NotHad, Source};

/// What is in the store of this server.
pub fn lab_store(client: &Client) -> Source {
    let client = client.clone();
    Source::through(Needed::LAB, format!("the lab's store at `{}`", client.server()), move |name, part| {
        client.package_file(name, part).map_err(|e| NotHad { may_pass: e.may_pass(), why: e.to_string() })
    })
}
