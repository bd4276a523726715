//! A hub and the host that its redirects lead to, with faults on demand.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Frame, Incoming},
    header::HeaderName,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, io::Error>;

const FRAME_BYTES: usize = 8 << 10;

/// The file, and what the two hosts say about it.
#[derive(Clone)]
pub struct Content {
    pub bytes: Arc<Vec<u8>>,
    /// Of the host that serves the bytes.
    pub etag: Option<String>,
    /// Whether the hub tells size and checksum when it redirects.
    pub linked: bool,
    /// The size that the hub tells, if not the true one.
    pub linked_size: Option<u64>,
    pub ranges: bool,
    /// Whether `If-Range` is obeyed.
    pub if_range: bool,
    /// Whether the length is told.
    pub length: bool,
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            etag: Some(format!("\"{}\"", &sha256(&bytes)[..8])),
            bytes: Arc::new(bytes),
            linked: true,
            linked_size: None,
            ranges: true,
            if_range: true,
            length: true,
        }
    }

    /// Without what only a hub tells.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { linked: false, ..Self::new(bytes) }
    }
}

/// What goes wrong with one request for bytes.
#[derive(Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// An error, with headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection is closed after so many bytes.
    Cut(usize),
    /// Nothing comes after so many bytes.
    Stall(usize),
    /// The byte at this place of the file is wrong.
    Corrupt(usize),
    /// The answer ends after so many bytes as if it were complete.
    Short(usize),
    /// More comes than was asked for.
    Long,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub struct Shared {
    pub content: Mutex<Content>,
    pub faults: Mutex<VecDeque<Fault>>,
    /// Answers of the hub's API by path.
    pub api: Mutex<HashMap<String, String>>,
    pub hub_seen: Mutex<Vec<Seen>>,
    pub files_seen: Mutex<Vec<Seen>>,
    /// Bytes of the file that were served.
    pub served: AtomicU64,
}

/// Both hosts; they end with the test.
pub struct Server {
    pub hub: String,
    /// Where the file is without a hub.
    pub file: String,
    pub shared: Arc<Shared>,
}

impl Server {
    pub async fn start(content: Content) -> Self {
        let shared = Arc::new(Shared {
            content: Mutex::new(content),
            faults: Mutex::default(),
            api: Mutex::default(),
            hub_seen: Mutex::default(),
            files_seen: Mutex::default(),
            served: AtomicU64::new(0),
        });
        let file = format!("{}/blob/model.gguf?signature=1", listen(&shared, serve_file).await);
        let redirect = file.clone();
        let hub = listen(&shared, move |shared, seen| serve_hub(shared, seen, &redirect)).await;
        Self { hub, file, shared }
    }

    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.shared.faults.lock().unwrap() = faults.into_iter().collect();
    }

    /// Forgets what came; gives how many bytes were served.
    pub fn take_served(&self) -> u64 {
        self.shared.files_seen.lock().unwrap().clear();
        self.shared.served.swap(0, SeqCst)
    }

    /// The ranges that the host of the bytes was asked for.
    pub fn ranges(&self) -> Vec<String> {
        let seen = self.shared.files_seen.lock().unwrap();
        seen.iter().map(|seen| seen.header("range").unwrap_or_default().to_owned()).collect()
    }
}

async fn listen<F>(shared: &Arc<Shared>, answer: F) -> String
where
    F: Fn(&Arc<Shared>, Seen) -> Response<Body> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (shared, answer) = (Arc::clone(shared), Arc::new(answer));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let path = request.uri().path_and_query().unwrap().to_string();
                    let seen = Seen { path, headers: request.headers().clone() };
                    let response = answer(&shared, seen);
                    async { Ok::<_, Infallible>(response) }
                });
                // A cut connection is an error here, and meant.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn serve_hub(shared: &Arc<Shared>, seen: Seen, file: &str) -> Response<Body> {
    shared.hub_seen.lock().unwrap().push(seen.clone());
    let path = seen.path.split('?').next().unwrap();
    if path.starts_with("/api/") {
        return match shared.api.lock().unwrap().get(path) {
            Some(body) => status(200, &[], body.clone()),
            None => status(404, &[("x-error-code", "RepoNotFound".into())], "{}".into()),
        };
    }
    match path {
        "/owner/model/resolve/main/model.gguf" => {
            let content = shared.content.lock().unwrap().clone();
            let mut headers = vec![("location", file.to_owned())];
            if content.linked {
                headers.push(("x-linked-etag", format!("\"{}\"", sha256(&content.bytes))));
                headers.push(("x-linked-size", content.linked_size.unwrap_or(content.bytes.len() as u64).to_string()));
            }
            status(302, &headers, "Found. Redirecting".into())
        }
        "/old/name/resolve/main/model.gguf" => {
            status(307, &[("location", "/owner/model/resolve/main/model.gguf".into())], String::new())
        }
        "/owner/loop/resolve/main/model.gguf" => status(302, &[("location", path.to_owned())], String::new()),
        "/owner/gated/resolve/main/model.gguf" => {
            status(403, &[("x-error-code", "GatedRepo".into())], "restricted".into())
        }
        "/owner/missing/resolve/main/model.gguf" => {
            status(401, &[("x-error-code", "RepoNotFound".into())], String::new())
        }
        _ => status(404, &[("x-error-code", "EntryNotFound".into())], String::new()),
    }
}

fn serve_file(shared: &Arc<Shared>, seen: Seen) -> Response<Body> {
    shared.files_seen.lock().unwrap().push(seen.clone());
    let fault = shared.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
    if let Fault::Status(code, headers) = &fault {
        return status(*code, headers, String::new());
    }
    let content = shared.content.lock().unwrap().clone();
    let size = content.bytes.len();
    let stale = content.if_range && seen.header("if-range").is_some_and(|value| Some(value) != content.etag.as_deref());
    let range = seen.header("range").filter(|_| content.ranges && !stale).map(|range| {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        (first.parse::<usize>().unwrap(), last.parse().unwrap_or(usize::MAX).min(size - 1))
    });
    let mut headers: Vec<(&str, String)> = content.etag.iter().map(|etag| ("etag", etag.clone())).collect();
    let (code, part) = match range {
        None => (200, 0..size),
        Some((first, _)) if first >= size => {
            return status(416, &[("content-range", format!("bytes */{size}"))], String::new());
        }
        Some((first, last)) => {
            headers.push(("content-range", format!("bytes {first}-{last}/{size}")));
            (206, first..last + 1)
        }
    };
    let mut bytes = content.bytes[part.clone()].to_vec();
    let mut end = End::Complete;
    let mut length = content.length;
    match fault {
        Fault::None | Fault::Status(..) => {}
        Fault::Cut(after) => {
            bytes.truncate(after);
            end = End::Cut;
        }
        Fault::Stall(after) => {
            bytes.truncate(after);
            end = End::Stall;
        }
        Fault::Corrupt(at) => {
            if part.contains(&at) {
                bytes[at - part.start] ^= 1;
            }
        }
        Fault::Short(after) => {
            bytes.truncate(after);
            length = false;
        }
        Fault::Long => {
            bytes.extend_from_slice(b"more than was asked for");
            length = false;
        }
    }
    if length {
        headers.push(("content-length", part.len().to_string()));
    }
    respond(code, &headers, stream_body(shared, bytes, end))
}

#[derive(Clone, Copy)]
enum End {
    Complete,
    Cut,
    Stall,
}

fn stream_body(shared: &Arc<Shared>, bytes: Vec<u8>, end: End) -> Body {
    let shared = Arc::clone(shared);
    let frames = stream::unfold((Bytes::from(bytes), shared), move |(mut rest, shared)| async move {
        if rest.is_empty() {
            match end {
                End::Complete => return None,
                End::Cut => {
                    // What was given to the connection leaves before it is closed.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    return Some((Err(io::Error::other("cut")), (rest, shared)));
                }
                End::Stall => std::future::pending().await,
            }
        }
        let frame = rest.split_to(rest.len().min(FRAME_BYTES));
        shared.served.fetch_add(frame.len() as u64, SeqCst);
        Some((Ok(Frame::data(frame)), (rest, shared)))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn status(code: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let headers: Vec<(&str, String)> = headers.to_vec();
    respond(code, &headers, Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync())
}

fn respond(code: u16, headers: &[(&str, String)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code.try_into().unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that differ at every place and with `seed`.
pub fn content_bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..size).map(|_| random.u8(..)).collect()
}
