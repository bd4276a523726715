//! The wire: a local socket carrying length-delimited JSON frames.

use std::{io, marker::PhantomData};

use futures_util::{SinkExt, StreamExt};
use interprocess::local_socket::{
    GenericNamespaced, ListenerOptions, ToNsName,
    tokio::{Stream, prelude::*},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{ReadHalf, WriteHalf};
use tokio_util::{
    bytes::Bytes,
    codec::{FramedRead, FramedWrite, LengthDelimitedCodec},
};

/// The listening end of a local socket.
pub type Listener = interprocess::local_socket::tokio::Listener;

/// No frame may be larger: room for a long conversation, and a bound on what a broken peer can make us allocate.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// What can go wrong on the wire.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The frame is not a message of this protocol version.
    #[error("the peer sent something that is not a message: {0}")]
    Json(#[from] serde_json::Error),
}

/// A connection that receives `In` and sends `Out`.
pub type Frames<In, Out> = (Reader<In>, Writer<Out>);

/// The receiving half.
pub struct Reader<In> {
    frames: FramedRead<ReadHalf<Stream>, LengthDelimitedCodec>,
    message: PhantomData<fn() -> In>,
}

/// The sending half.
pub struct Writer<Out> {
    frames: FramedWrite<WriteHalf<Stream>, LengthDelimitedCodec>,
    message: PhantomData<fn(Out)>,
}

impl<In: DeserializeOwned> Reader<In> {
    /// The next message, or `None` when the peer has hung up.
    pub async fn next(&mut self) -> Option<Result<In, FrameError>> {
        let frame = self.frames.next().await?;
        Some(frame.map_err(FrameError::from).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)))
    }
}

impl<Out: Serialize> Writer<Out> {
    /// Sends one message.
    pub async fn send(&mut self, message: &Out) -> Result<(), FrameError> {
        let bytes = serde_json::to_vec(message)?;
        Ok(self.frames.send(Bytes::from(bytes)).await?)
    }
}

/// Binds the socket `name`. Names live in a namespace of the operating system, so nothing is left behind in the file system.
pub fn listen(name: &str) -> io::Result<Listener> {
    ListenerOptions::new().name(name.to_ns_name::<GenericNamespaced>()?).create_tokio()
}

/// Connects to the socket `name`.
pub async fn connect<In, Out>(name: &str) -> io::Result<Frames<In, Out>> {
    Ok(split(Stream::connect(name.to_ns_name::<GenericNamespaced>()?).await?))
}

/// Turns a connection into its two halves.
pub fn split<In, Out>(stream: Stream) -> Frames<In, Out> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
    let (receive, send) = tokio::io::split(stream);
    (
        Reader { frames: FramedRead::new(receive, codec.clone()), message: PhantomData },
        Writer { frames: FramedWrite::new(send, codec), message: PhantomData },
    )
}
