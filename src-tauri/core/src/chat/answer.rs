//! Writing one answer: engine to event and to disk.

use std::time::{Duration, Instant};

use tektra_protocol::{Role, Turn, Usage};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use crate::{
    ErrorCode, Result, Tektra,
    engine::{Ask, Piece},
    event::{CoreEvent, FinishReason, Receipt},
    resources::AnswerMark,
    store::{Message, MessageStatus, Outcome, Speaker, now_ms},
};

/// A crash of this process loses at most this much of an answer.
const SAVE_EVERY: Duration = Duration::from_millis(250);
/// While the disk is full.
const RETRY_EVERY: Duration = Duration::from_secs(3);

impl Tektra {
    /// Writes the answer `message` to its end and stores how it ended.
    pub(super) async fn write(self, message: Message, stop: watch::Receiver<bool>) {
        let span = tracing::info_span!("answer", id = message.id);
        async {
            let started_ms = now_ms() as f64;
            self.profile().begin(&message.id, &message.conversation_id);
            let (pieces, mut arriving) = mpsc::unbounded_channel::<Piece>();
            let (done, saving) = watch::channel(false);
            let saver = tokio::spawn(self.clone().save(message.id.clone(), saving));
            let showing = async {
                while let Some(piece) = arriving.recv().await {
                    self.show(&message, piece);
                }
            };
            let producing = self.produce(&message, pieces, stop);
            let (answer, ()) = tokio::join!(producing, showing);
            drop(done);
            let _ = saver.await;
            self.finish(message, started_ms, answer).await;
        }
        .instrument(span)
        .await;
    }

    async fn produce(
        &self,
        message: &Message,
        pieces: mpsc::UnboundedSender<Piece>,
        stop: watch::Receiver<bool>,
    ) -> Result<(Receipt, Option<Usage>)> {
        let settings = self.effective_settings().await?;
        let model = self.model(&settings).await?;
        let mut turns = Vec::new();
        if !settings.system_prompt.trim().is_empty() {
            turns.push(Turn { role: Role::System, text: settings.system_prompt });
        }
        if let Some(parent) = &message.parent_id {
            turns.extend(self.store().branch(parent).await?.into_iter().filter(has_said_something).map(|said| Turn {
                role: if said.role == Speaker::User { Role::User } else { Role::Assistant },
                text: said.text,
            }));
        }
        let continue_from = Some(message.text.clone()).filter(|text| !text.is_empty());
        let ask = Ask { turns, continue_from, max_tokens: settings.max_tokens, temperature: settings.temperature };
        self.engine().answer_and_usage(&model, ask, pieces, stop).await
    }

    fn show(&self, message: &Message, piece: Piece) {
        let mut live = self.live().lock();
        let Some(writing) = live.get_mut(&message.id) else { return };
        let offset_utf16 = writing.length_utf16;
        writing.length_utf16 += super::length_utf16(&piece.text);
        writing.text.push_str(&piece.text);
        // Sent under the lock, so that whoever reads the live text has every earlier piece.
        self.emit(CoreEvent::AnswerDelta {
            conversation_id: message.conversation_id.clone(),
            message_id: message.id.clone(),
            offset_utf16,
            text: piece.text,
            tokens: piece.completion_tokens,
        });
    }

    /// Saves the live text in small batches, away from the path that shows it, until `done` closes.
    async fn save(self, id: String, mut done: watch::Receiver<bool>) {
        let mut saved = 0;
        while tokio::time::timeout(SAVE_EVERY, done.changed()).await.is_err() {
            let text = match self.live().lock().get(&id) {
                Some(writing) if writing.text.len() != saved => writing.text.clone(),
                _ => continue,
            };
            let begun = Instant::now();
            let result = self.store().save_text(&id, &text).await;
            if result.is_ok() {
                crate::metrics::stored(begun.elapsed());
                self.profile().saved(&id, begun.elapsed());
                saved = text.len();
            }
            self.note_store(&result);
        }
    }

    async fn finish(&self, mut message: Message, started_ms: f64, answer: Result<(Receipt, Option<Usage>)>) {
        let ended_ms = now_ms() as f64;
        let text = self.live().lock().get(&message.id).map(|writing| writing.text.clone()).unwrap_or_default();
        let cost = answer.as_ref().ok().and_then(|(receipt, usage)| Some((receipt.clone(), (*usage)?)));
        let (status, error, receipt) = match answer.map(|(receipt, _)| receipt) {
            Ok(receipt) if receipt.finish_reason == FinishReason::Cancelled => {
                (MessageStatus::Stopped, None, Some(receipt))
            }
            Ok(receipt) => (MessageStatus::Complete, None, Some(receipt)),
            // What was written before a crash is worth continuing; with nothing written, the reason is all there is.
            Err(error) if error.code() == ErrorCode::EngineCrashed && !text.is_empty() => {
                (MessageStatus::Interrupted, Some(error.report()), None)
            }
            Err(error) => (MessageStatus::Failed, Some(error.report()), None),
        };
        tracing::info!(?status, code = ?error.as_ref().map(|error| error.code), "answer ended");
        let outcome = Outcome { text, status, error, receipt };
        let begun = Instant::now();
        let mut result = self.store().finish(&message.id, &outcome).await;
        self.profile().end(&message.id, cost, begun.elapsed());
        self.note_store(&result);

        message.text = outcome.text.clone();
        message.status = outcome.status;
        message.error.clone_from(&outcome.error);
        message.receipt.clone_from(&outcome.receipt);
        let (id, conversation_id) = (message.id.clone(), message.conversation_id.clone());
        if result.is_ok() {
            self.live().lock().remove(&id);
        }
        let tokens = message.receipt.as_ref().map_or(0, |receipt| receipt.completion_tokens);
        self.mark_answer(AnswerMark {
            started_ms,
            ended_ms,
            conversation_id: conversation_id.clone(),
            message_id: id.clone(),
            tokens,
        });
        self.emit(CoreEvent::AnswerFinished { conversation_id, message: Box::new(message) });
        self.emit(CoreEvent::ConversationsChanged);
        // Kept in memory, and shown from there, until the disk takes it.
        while result.is_err() {
            tokio::time::sleep(RETRY_EVERY).await;
            result = self.store().finish(&id, &outcome).await;
            if result.is_ok() {
                self.live().lock().remove(&id);
            }
            self.note_store(&result);
        }
    }

    /// Tells, once, that answers cannot be saved, and once that they can again.
    pub(crate) fn note_store(&self, result: &Result<()>) {
        let now = result.as_ref().err().map(crate::Error::report);
        let changed = self.store_trouble().send_if_modified(|before| {
            let changed = before.is_some() != now.is_some();
            before.clone_from(&now);
            changed
        });
        if changed {
            if let Some(error) = &now {
                tracing::error!(code = ?error.code, message = error.message, "an answer or a benchmark cannot be saved");
            }
            self.emit(CoreEvent::StoreTrouble { error: now });
        }
    }
}

/// An answer that failed before its first word would only confuse the model.
fn has_said_something(message: &Message) -> bool {
    !message.text.trim().is_empty()
}
