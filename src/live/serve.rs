//! Connections and HTTP: who comes in, and the page's files.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::access::{Access, HEADERS, Refusal};
use super::assets::{ASSETS, Asset, PAGE};
use super::socket::{Desk, MOST_MESSAGE_BYTES};
use super::viewers::MOST;

/// Connections at once; a browser opens six and the WebSocket.
const MOST_CONNECTIONS: usize = 64;

/// How long a connection may take over the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long it may take in all, until its one request is answered or has become a WebSocket.
const REQUEST_TIME: Duration = Duration::from_secs(15);

/// What waits to be written to a page that reads nothing: the largest frame, and answers to pings.
const MOST_UNREAD_BYTES: usize = 32 << 20;

/// What requests need.
#[derive(Clone)]
struct Reception {
    access: Arc<Access>,
    desk: Arc<Desk>,
}

/// Serves until `stopping` says so.
///
/// # Errors
/// The listener does not work with the event loop.
pub(super) async fn serve(
    listener: TcpListener,
    access: Access,
    desk: Arc<Desk>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener).context("the live page cannot listen")?;
    if let Some(play) = desk.play() {
        tokio::spawn(play);
    }
    let router = router(Reception { access: Arc::new(access), desk: Arc::clone(&desk) });
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            _ = stopping.wait_for(|stops| *stops) => break,
        };
        match (connection, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                tokio::spawn(talk(stream, place, router.clone()));
            }
            (Ok((stream, _)), Err(_)) => turn_away(stream).await,
            // No file descriptor is left, or the peer has gone already: others may still come.
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    desk.farewell().await;
    Ok(())
}

/// Answers the requests of one connection.
async fn talk(stream: TcpStream, _place: OwnedSemaphorePermit, router: Router) {
    // Frames are whole messages.
    let _delayed = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A peer that breaks off, reads nothing or talks no HTTP is no news.
    let _broken = timeout(REQUEST_TIME, connection.with_upgrades()).await;
}

/// Tells one more connection that there are too many. It gets what its socket buffers at once, or nothing.
async fn turn_away(mut stream: TcpStream) {
    let answer: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let _gone = timeout(Duration::from_millis(10), stream.write_all(answer)).await;
}

fn router(reception: Reception) -> Router {
    let served = |asset: &'static Asset| get(move || async move { file(asset) });
    let behind_cookie = ASSETS
        .iter()
        .fold(Router::new(), |router, asset| router.route(asset.path, served(asset)))
        .route("/socket", get(open_socket))
        .layer(from_fn_with_state(reception.clone(), with_cookie));
    Router::new()
        .route(PAGE.path, get(page))
        .merge(behind_cookie)
        .layer(from_fn_with_state(reception.clone(), with_host))
        .layer(map_response(with_headers))
        .with_state(reception)
}

fn file(asset: &Asset) -> Response {
    ([(header::CONTENT_TYPE, asset.media_type)], asset.text).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn with_host(State(reception): State<Reception>, request: Request, next: Next) -> Response {
    match reception.access.host(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn with_cookie(State(reception): State<Reception>, request: Request, next: Next) -> Response {
    match reception.access.cookie(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The page, for the token or the cookie. The token is not redirected away: a browser that follows a link of
/// another site would leave the strict cookie out of the second request.
async fn page(State(reception): State<Reception>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    if reception.access.has_token(query.as_deref()) {
        return ([(header::SET_COOKIE, reception.access.set_cookie())], file(&PAGE)).into_response();
    }
    match reception.access.cookie(&headers) {
        Ok(()) => file(&PAGE),
        Err(refusal) => refusal.into_response(),
    }
}

async fn open_socket(
    State(reception): State<Reception>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(refusal) = reception.access.origin(&headers) {
        return refusal.into_response();
    }
    // Whoever sends somewhat too much hears why; beyond this the connection breaks off.
    let most = 2 * MOST_MESSAGE_BYTES;
    let upgrade =
        upgrade.max_message_size(most).max_frame_size(most).max_write_buffer_size(MOST_UNREAD_BYTES);
    upgrade.on_upgrade(|socket| attend(socket, reception.desk))
}

async fn attend(mut socket: WebSocket, desk: Arc<Desk>) {
    match desk.join() {
        Some(viewer) => viewer.attend(socket).await,
        None => {
            let reason = format!("{MOST} pages look at this node already: close one of them.");
            let full = CloseFrame { code: 1013, reason: reason.into() };
            let _gone = socket.send(Message::Close(Some(full))).await;
        }
    }
}
