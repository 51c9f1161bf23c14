//! Who may see the page: who asks under one of the names of this machine, comes from the page itself, and has
//! the token of the printed address, or the cookie that it was given for the token.

use std::net::SocketAddr;

use anyhow::Context;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

/// What a request must have.
#[derive(Debug)]
pub(super) struct Access {
    /// 128 random bits in hexadecimal, new at every start.
    token: String,
    /// Cookies are those of a host, whatever the port: the name keeps the nodes of a machine apart.
    cookie_name: String,
    /// `host:port` as browsers write it, the one to print first.
    hosts: Vec<String>,
}

/// Why a request gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Another site's name leads here: DNS rebinding, or a proxy.
    #[error("This is not the address that the node printed: the live page answers only under that one.\n")]
    Host,
    /// A page of another site.
    #[error("Only the live page itself may open this connection.\n")]
    Origin,
    /// Neither token nor cookie.
    #[error("Open the address that the node printed when it started: it ends with a token.\n")]
    Token,
}

impl Refusal {
    /// As HTTP says it.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin | Self::Token => StatusCode::FORBIDDEN,
        }
    }
}

/// What every answer says to the browser: the page needs nothing from anywhere else, stands in no frame, and is
/// kept nowhere.
pub(super) const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
];

impl Access {
    /// For a page at `socket`.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(socket: SocketAddr) -> anyhow::Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).context("no random token can be had for the live page")?;
        let token = bits.map(|byte| format!("{byte:02x}")).concat();
        Ok(Self { token, cookie_name: format!("pixio_{}", socket.port()), hosts: hosts(socket) })
    }

    /// The address to print.
    pub(super) fn url(&self) -> String {
        format!("http://{}/?token={}", self.hosts[0], self.token)
    }

    /// Whether the request was made under a name of this page.
    ///
    /// # Errors
    /// [`Refusal::Host`].
    pub(super) fn host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let is_ours = match (hosts.next(), hosts.next()) {
            (Some(host), None) => self.hosts.iter().any(|ours| host.as_bytes() == ours.as_bytes()),
            _ => false,
        };
        if is_ours { Ok(()) } else { Err(Refusal::Host) }
    }

    /// Whether a WebSocket was opened by a script of this page.
    ///
    /// # Errors
    /// [`Refusal::Origin`].
    pub(super) fn origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
        let host = origin.and_then(|origin| origin.strip_prefix(b"http://"));
        let is_ours = host.is_some_and(|host| self.hosts.iter().any(|ours| host == ours.as_bytes()));
        if is_ours { Ok(()) } else { Err(Refusal::Origin) }
    }

    /// Whether `query`, the part of the address behind `?`, has the token.
    pub(super) fn has_token(&self, query: Option<&str>) -> bool {
        let mut pairs = query.into_iter().flat_map(|query| query.split('&'));
        pairs.any(|pair| pair.strip_prefix("token=").is_some_and(|token| is_same(token, &self.token)))
    }

    /// Whether the request has the cookie.
    ///
    /// # Errors
    /// [`Refusal::Token`].
    pub(super) fn cookie(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        // Other programs of this machine share the jar, and put any bytes into it.
        let values = headers.get_all(header::COOKIE).iter();
        let pairs = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let mut pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
        let is_ours = pairs.any(|(name, value)| name == self.cookie_name && is_same(value, &self.token));
        if is_ours { Ok(()) } else { Err(Refusal::Token) }
    }

    /// The cookie for who has shown the token.
    pub(super) fn set_cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name, self.token)
    }
}

/// Compares hashes: how long that takes says nothing about how much of `given` is right.
fn is_same(given: &str, token: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(token)
}

/// The names of this machine under which `socket` is reached.
fn hosts(socket: SocketAddr) -> Vec<String> {
    let (ip, port) = (socket.ip(), socket.port());
    let of_ip = |ip| SocketAddr::new(ip, port).to_string();
    let mut hosts = vec![of_ip(ip)];
    if ip.is_loopback() || ip.is_unspecified() {
        hosts.push(format!("localhost:{port}"));
    }
    if !ip.is_loopback() {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim().to_ascii_lowercase();
        if !name.is_empty() {
            hosts.extend([format!("{name}:{port}"), format!("{name}.local:{port}")]);
        }
    }
    if ip.is_unspecified() {
        // No address to print, and none that a browser can open.
        hosts.remove(0);
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let reached = |of: &std::net::IpAddr| of.is_ipv4() || ip.is_ipv6();
        hosts.extend(interfaces.into_iter().map(|one| one.ip()).filter(reached).map(of_ip));
    }
    // Browsers leave the usual port out.
    let short: Vec<_> = hosts.iter().filter_map(|host| host.strip_suffix(":80").map(str::to_owned)).collect();
    hosts.extend(short);
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(socket: &str) -> Access {
        Access::new(socket.parse().unwrap()).unwrap()
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_names_of_this_page_are_answered() {
        let access = access("127.0.0.1:8470");
        let check = |host, expect| {
            assert_eq!(access.host(&headers(&[(header::HOST, host)])).is_ok(), expect, "{host}");
        };
        check("127.0.0.1:8470", true);
        check("localhost:8470", true);
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "evil.example:8470",
            "localhost:8470.evil.example",
            "LOCALHOST:8470",
        ] {
            check(host, false);
        }
        assert_eq!(access.host(&HeaderMap::new()), Err(Refusal::Host));
        let mut two = headers(&[(header::HOST, "127.0.0.1:8470")]);
        two.append(header::HOST, HeaderValue::from_static("127.0.0.1:8470"));
        assert_eq!(access.host(&two), Err(Refusal::Host));
    }

    #[test]
    fn sockets_are_opened_by_the_page_itself() {
        let access = access("[::1]:9000");
        let check = |origin, expect| {
            assert_eq!(access.origin(&headers(&[(header::ORIGIN, origin)])).is_ok(), expect, "{origin}");
        };
        check("http://[::1]:9000", true);
        check("http://localhost:9000", true);
        for origin in ["null", "https://localhost:9000", "http://localhost", "http://evil.example:9000", ""] {
            check(origin, false);
        }
        assert_eq!(access.origin(&HeaderMap::new()), Err(Refusal::Origin));
    }

    #[test]
    fn a_token_is_taken_once_and_its_cookie_from_then_on() {
        let (first, second) = (access("127.0.0.1:8470"), access("127.0.0.1:8470"));
        let token = first.url().split_once("token=").unwrap().1.to_owned();
        assert_eq!(token.len(), 32);
        assert!(first.has_token(Some(&format!("a=b&token={token}"))));
        for query in [None, Some("token="), Some(&token[..]), Some(&format!("token={}", &token[..31])[..])] {
            assert!(!first.has_token(query), "{query:?}");
        }
        let cookie = first.set_cookie().split_once(';').unwrap().0.to_owned();
        let with = |value: &str| headers(&[(header::COOKIE, value)]);
        assert_eq!(first.cookie(&with(&format!("a=b; {cookie}"))), Ok(()));
        assert_eq!(first.cookie(&with("pixio_8470=")), Err(Refusal::Token));
        let foreign = [&b"name=Zo\xeb; "[..], cookie.as_bytes()].concat();
        let foreign = [(header::COOKIE, HeaderValue::from_bytes(&foreign).unwrap())].into_iter().collect();
        assert_eq!(first.cookie(&foreign), Ok(()));
        assert_eq!(second.cookie(&with(&cookie)), Err(Refusal::Token));
    }

    #[test]
    fn a_page_for_all_interfaces_is_printed_with_an_address_that_can_be_opened() {
        let access = access("0.0.0.0:80");
        assert!(access.url().starts_with("http://localhost:80/"), "{}", access.url());
        assert!(access.host(&headers(&[(header::HOST, "127.0.0.1")])).is_ok());
        assert!(access.host(&headers(&[(header::HOST, "0.0.0.0")])).is_err());
    }
}
