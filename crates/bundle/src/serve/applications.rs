//! Applications that people sign in with.

use url::{Host, Url};
use warrantor_model::AgentId;

use super::tokens::covers;
use crate::{doc::Doc, files::serve::ApplicationEntry, report::Report, tree::short};

/// An application that people sign in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationConfig {
    /// Its name, or the address of its document; one that ends in `/` stands for every document under it.
    pub client_id: String,
    /// The agent that acts when people use it.
    pub agent: AgentId,
    /// What people know it by.
    pub name: Option<String>,
    /// Where people are sent back to; empty where its document says so.
    pub redirect_uris: Vec<String>,
}

impl ApplicationConfig {
    /// Whether a client id is this application's. An address has no dot segments and no query, so that none leads out of what it seems to be under.
    #[must_use]
    pub fn is(&self, client_id: &str) -> bool {
        if !self.redirect_uris.is_empty() {
            return client_id == self.client_id;
        }
        covers(&self.client_id, client_id) && is_document(client_id)
    }
}

/// Whether a text is the address of a client id metadata document (draft-ietf-oauth-client-id-metadata-document, section 3): https (http on this machine), with
/// a path, without user, fragment and query, and as it is compared.
fn is_document(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_secure = url.scheme() == "https" || (url.scheme() == "http" && is_here(&url));
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && url.query().is_none();
    // A parser takes dot segments away: then the two differ. What a server might decode into one is refused as it stands.
    let path = url.path().to_ascii_lowercase();
    let hides = ["%2f", "%5c", "%2e", "%00"].iter().any(|hidden| path.contains(hidden));
    is_secure && is_plain && path != "/" && !hides && url.as_str() == text
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether people may be sent back to an address at all: a page over https, a port of their own machine, or a program of theirs that a scheme of its own
/// names (RFC 8252, section 7). Nothing that a browser would run or read itself.
#[must_use]
pub fn may_go_back_to(text: &str) -> bool {
    /// Schemes that a browser handles itself.
    const BROWSER: [&str; 13] = [
        "about",
        "blob",
        "chrome",
        "data",
        "file",
        "filesystem",
        "ftp",
        "http",
        "javascript",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    ];
    let Ok(url) = Url::parse(text) else { return false };
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_here(&url),
        other => !BROWSER.contains(&other),
    }
}

pub(super) fn read(
    doc: &Doc,
    at: usize,
    entry: ApplicationEntry,
    issuer: &str,
    report: &mut Report,
) -> ApplicationConfig {
    let at = at.to_string();
    let pointer = |field| ["tokens", "applications", at.as_str(), field];
    const LONGEST_NAME: usize = 100;
    if entry
        .name
        .as_ref()
        .is_some_and(|name| name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control))
    {
        let message = format!("the name is longer than {LONGEST_NAME} characters, or no line of text");
        doc.error(report, &pointer("name"), message, "shorten it");
    }
    if entry.redirect_uris.is_empty() {
        let of_directory = entry.client_id.strip_suffix('/').map(|under| format!("{under}/client.json"));
        let document = of_directory.as_deref().unwrap_or(&entry.client_id);
        let is_ours = Url::parse(issuer).is_ok_and(|issuer| is_here(&issuer));
        let here = Url::parse(document).is_ok_and(|url| is_here(&url));
        if !is_document(document) || (here && !is_ours) {
            let message =
                format!("{:?} is no address of a client id metadata document", short(&entry.client_id));
            let cure =
                "write one such as https://app.example.com/oauth/client.json, or say its `redirect_uris`";
            doc.error(report, &pointer("client_id"), message, cure);
        }
    }
    for uri in entry.redirect_uris.iter().filter(|uri| !may_go_back_to(uri)) {
        let message = format!("nobody can be sent back to {:?}", short(uri));
        let cure =
            "write https, http on this machine (any port counts then), or a scheme of the program's own";
        doc.error(report, &pointer("redirect_uris"), message, cure);
    }
    ApplicationConfig {
        client_id: entry.client_id,
        agent: entry.agent,
        name: entry.name,
        redirect_uris: entry.redirect_uris,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_an_applications_exactly_or_a_document_under_its_address() {
        let of = |client_id: &str, redirects: &[&str]| ApplicationConfig {
            client_id: client_id.to_owned(),
            agent: "desk".parse().unwrap(),
            name: None,
            redirect_uris: redirects.iter().map(|uri| (*uri).to_owned()).collect(),
        };
        let (named, document) = (of("desk", &["http://127.0.0.1/cb"]), of("https://a.example/c.json", &[]));
        let directory = of("https://a.example/clients/", &[]);
        for (application, client_id, is) in [
            (&named, "desk", true),
            (&named, "desk2", false),
            (&document, "https://a.example/c.json", true),
            (&document, "https://a.example/c.json?x", false),
            (&document, "https://a.example/c.json/", false),
            (&directory, "https://a.example/clients/x.json", true),
            (&directory, "https://a.example/clients/", true),
            (&directory, "https://a.example/clients/../evil.json", false),
            (&directory, "https://a.example/clients/%2e%2e/evil.json", false),
            (&directory, "https://a.example/clients/..%2fevil.json", false),
            (&directory, "https://a.example/clients/x%5c..%5cevil.json", false),
            (&directory, "https://a.example/clients/x.json#y", false),
            (&directory, "https://a.example/clientsx/x.json", false),
            (&directory, "https://a.example.evil/clients/x.json", false),
            (&directory, "http://a.example/clients/x.json", false),
        ] {
            assert_eq!(application.is(client_id), is, "{client_id} of {}", application.client_id);
        }
    }

    #[test]
    fn nobody_is_sent_to_what_a_browser_would_run() {
        for (uri, may) in [
            ("https://app.example.com/callback", true),
            ("http://127.0.0.1:3000/callback", true),
            ("http://[::1]/callback", true),
            ("http://localhost/callback", true),
            ("cursor://anysphere.cursor/callback", true),
            ("com.example.app:/callback", true),
            ("http://app.example.com/callback", false),
            ("https://app.example.com/#x", false),
            ("https://user@app.example.com/", false),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("file:///etc/passwd", false),
            ("callback", false),
        ] {
            assert_eq!(may_go_back_to(uri), may, "{uri}");
        }
    }
}
