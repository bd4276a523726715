//! The one HTTP client.

use std::{
    collections::HashMap,
    env, io,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE},
    redirect,
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    Error,
    answer::{Answer, Linked},
    retry::{Failure, LONGEST_WAIT, retry_after},
    source::join,
};

/// The public hub.
const HUB: &str = "https://huggingface.co";
const REDIRECTS: usize = 10;
/// More than any real answer of the hub's API.
const LARGEST_JSON_BYTES: usize = 32 << 20;

/// How the client behaves.
#[derive(Clone)]
pub struct Options {
    /// The hub's base address.
    pub endpoint: String,
    /// Access token for the hub; sent to no other host.
    pub token: Option<String>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub stall_timeout: Duration,
    /// How many attempts in a row may bring nothing new before a download fails; at least 1.
    pub attempts: u32,
    /// The wait after the first failure, doubled after each further one.
    pub first_wait: Duration,
    /// The longest wait that the doubling leads to.
    pub longest_wait: Duration,
    /// How many parts of one file are downloaded at once; at least 1.
    pub segments: usize,
    /// Files up to this size are downloaded in one part.
    pub parallel_above_bytes: u64,
    /// How many requests for files may run on one host at once, over all downloads; at least 1.
    pub connections_per_host: usize,
    /// How often what has arrived is made to survive a crash.
    pub checkpoint_every: Duration,
    /// Tells the free bytes of the disk that a folder lies on.
    pub free_space: fn(&Path) -> io::Result<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: HUB.into(),
            token: None,
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            attempts: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            // NTFS fills everything before a write with zeros, so writing in the middle would take minutes there.
            segments: if cfg!(windows) { 1 } else { 4 },
            parallel_above_bytes: 64 << 20,
            connections_per_host: 8,
            checkpoint_every: Duration::from_secs(2),
            free_space: |folder| fs4::available_space(folder),
        }
    }
}

impl Options {
    /// The defaults, with the hub's address from the environment variable `HF_ENDPOINT` if it is set.
    pub fn from_env() -> Self {
        let defaults = Self::default();
        let endpoint = env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.trim().is_empty());
        Self { endpoint: endpoint.unwrap_or(defaults.endpoint), ..defaults }
    }
}

/// The one HTTP client. Cloning it is cheap and shares its connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Url,
    options: Arc<Options>,
    slots: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

impl Client {
    /// Makes a client; the system's proxy settings are honoured.
    ///
    /// # Errors
    /// [`Error::Setup`] if the hub's address is not an http(s) one, or a proxy setting or certificate store is unusable.
    pub fn new(options: Options) -> Result<Self, Error> {
        let endpoint = Url::parse(options.endpoint.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Error::Setup { reason: format!("\"{}\" is not the address of a hub", options.endpoint) })?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("tektra/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .pool_max_idle_per_host(options.connections_per_host)
            // Redirects are followed here: the hub tells about a file in the answer that redirects.
            .redirect(redirect::Policy::none())
            .referer(false)
            // The default windows hold fast but distant servers back.
            .http2_initial_stream_window_size(8 << 20)
            .http2_initial_connection_window_size(32 << 20)
            .build()
            .map_err(|error| Error::Setup { reason: cause(&error) })?;
        Ok(Self { http, endpoint, options: Arc::new(options), slots: Arc::default() })
    }

    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Asks for a file, or a range of it (up to its end if the range ends at `u64::MAX`), and follows redirects.
    pub(crate) async fn open(
        &self,
        url: &Url,
        range: Option<&Range<u64>>,
        if_range: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut at = url.clone();
        let mut linked = Linked::default();
        for hop in 0..=REDIRECTS {
            let host = host(&at);
            // Only files are counted: a search must not wait for a download to end.
            let slot = if range.is_some() { self.slot(&host).await } else { None };
            let response = self.send(&at, &host, range, if_range).await?;
            linked.add(response.headers());
            let status = response.status();
            if status.is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                let next = location.and_then(|location| at.join(location).ok());
                let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
                    return Err(Error::Answer { host, reason: format!("it redirects ({status}) to nowhere") }.into());
                };
                at = next;
                self.drain(response).await;
                continue;
            }
            return match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                    Ok(Answer { response, host, linked, stall_timeout: self.options.stall_timeout, _slot: slot })
                }
                _ => Err(self.refusal(&response, url, &at, hop > 0, range)),
            };
        }
        Err(Error::Answer { host: host(url), reason: format!("it redirects more than {REDIRECTS} times") }.into())
    }

    /// Asks the hub's API.
    pub(crate) async fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Error> {
        let read = async {
            let mut answer = self.open(url, None, None).await?;
            let mut body = Vec::new();
            while let Some(bytes) = answer.next().await? {
                body.extend_from_slice(bytes.as_ref());
                if body.len() > LARGEST_JSON_BYTES {
                    return Err(answer.nonsense("it is far too long".into()));
                }
            }
            serde_json::from_slice(&body).map_err(|error| answer.nonsense(error.to_string()))
        };
        read.await.map_err(|failure| match failure {
            Failure::Fatal(error) | Failure::Retry { error, .. } => error,
            // Only downloads are restarted or stopped.
            Failure::Restart(_) | Failure::Stopped => Error::Changing { url: url.to_string() },
        })
    }

    async fn slot(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        let slots = {
            let mut hosts = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.options.connections_per_host.max(1)));
            Arc::clone(hosts.entry(host.into()).or_insert_with(new))
        };
        slots.acquire_owned().await.ok()
    }

    async fn send(
        &self,
        url: &Url,
        host: &str,
        range: Option<&Range<u64>>,
        if_range: Option<&str>,
    ) -> Result<Response, Failure> {
        // A compressed answer has other offsets than the file.
        let mut request = self.http.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            let last = if range.end == u64::MAX { String::new() } else { (range.end - 1).to_string() };
            request = request.header(RANGE, format!("bytes={}-{last}", range.start));
        }
        if let Some(value) = if_range {
            request = request.header(IF_RANGE, value);
        }
        if let Some(token) = &self.options.token
            && url.origin() == self.endpoint.origin()
        {
            request = request.bearer_auth(token.trim());
        }
        match timeout(self.options.connect_timeout + self.options.stall_timeout, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_builder() => Err(Error::Setup { reason: cause(&error) }.into()),
            Ok(Err(error)) => Err(Failure::passing(error_of(&error, host))),
            Err(_) => Err(Failure::passing(Error::Stalled {
                host: host.into(),
                seconds: self.options.stall_timeout.as_secs(),
            })),
        }
    }

    /// Reads the short body of a redirect to its end, so that the connection can be used again.
    async fn drain(&self, response: Response) {
        if response.content_length().is_some_and(|length| length <= 64 << 10) {
            // A failure here costs the connection, nothing else.
            let _ = timeout(self.options.stall_timeout, response.bytes()).await;
        }
    }

    /// What a status that is not a success means.
    fn refusal(
        &self,
        response: &Response,
        url: &Url,
        at: &Url,
        redirected: bool,
        range: Option<&Range<u64>>,
    ) -> Failure {
        let status = response.status().as_u16();
        let host = host(at);
        // The hub answers 401 for what does not exist, and says so here.
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        match status {
            401 | 403 if code.is_some_and(|code| code.ends_with("NotFound")) => {
                Error::NotFound { url: url.to_string() }.into()
            }
            401 | 403 => match self.page(url) {
                Some(page) if at.origin() == self.endpoint.origin() => Error::Gated { page, status }.into(),
                // A redirect leads to an address that expires; the next attempt gets a new one.
                _ if redirected => Failure::passing(Error::Refused { url: url.to_string(), status }),
                _ => Error::Refused { url: url.to_string(), status }.into(),
            },
            404 | 410 => Error::NotFound { url: url.to_string() }.into(),
            416 if range.is_some_and(|range| range.start > 0) => Failure::Restart(crate::Restart::Changed),
            429 | 503 => {
                let after = retry_after(response.headers(), SystemTime::now());
                let error = Error::Busy { host, seconds: after.map(|after| after.as_secs()) };
                match after {
                    Some(after) if after > LONGEST_WAIT => error.into(),
                    _ => Failure::Retry { error, after },
                }
            }
            408 | 425 | 500..=599 => Failure::passing(Error::Status { host, status }),
            _ => Error::Status { host, status }.into(),
        }
    }

    /// The page of the model that an address of the hub belongs to.
    fn page(&self, url: &Url) -> Option<String> {
        if url.origin() != self.endpoint.origin() {
            return None;
        }
        let path = url.path().strip_prefix(self.endpoint.path().trim_end_matches('/'))?;
        let path = path.trim_start_matches('/');
        let mut parts = path.strip_prefix("api/models/").unwrap_or(path).split('/').filter(|part| !part.is_empty());
        Some(join(&self.endpoint, [parts.next()?, parts.next()?]).to_string())
    }
}

/// Host and port, as a person names a server.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}"))
}

/// Why a request failed.
pub(crate) fn error_of(error: &reqwest::Error, host: &str) -> Error {
    let (host, reason) = (host.to_owned(), cause(error));
    if error.is_connect() { Error::Offline { host, reason } } else { Error::Broken { host, reason } }
}

/// The innermost reason: the outer ones only say that there was one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
