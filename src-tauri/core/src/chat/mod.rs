//! Conversations in motion: sending, stopping, continuing, answering again.

mod answer;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use specta::Type;
use tokio::sync::watch;

use crate::{
    Error, Result, Tektra,
    event::CoreEvent,
    store::{Conversation, Message, Turned},
};

/// Larger messages are refused: no model holds them, and the window would only struggle.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Characters of the first message that become the title.
const TITLE_CHARS: usize = 60;

/// A message to send.
#[derive(Clone, Debug, Default, Deserialize, Type)]
pub struct SendRequest {
    /// Absent begins a conversation.
    pub conversation_id: Option<String>,
    /// The message that this one follows; absent for the end of the shown branch.
    pub parent_id: Option<String>,
    /// The message of the person's that this one replaces, as another version of it.
    pub edit_of: Option<String>,
    /// What is said.
    pub text: String,
}

/// An answer that has begun.
#[derive(Clone, Debug, Serialize, Type)]
pub struct Started {
    /// Its conversation.
    pub conversation_id: String,
    /// What the person said, when that is new.
    pub user_message: Option<Message>,
    /// The answer, still empty or as far as it had come.
    pub answer: Message,
}

/// The answers that this process is writing.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<HashMap<String, Writing>>);

#[derive(Debug)]
struct Writing {
    /// What it says so far: ahead of the database by a fraction of a second.
    text: String,
    /// Its length, kept because counting it anew for every piece would cost more with every piece.
    length_utf16: u32,
    stop: watch::Sender<bool>,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Writing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tektra {
    /// Stores a message and begins its answer. Pieces and end come as events.
    ///
    /// # Errors
    /// When the message is empty, or cannot be stored: then nothing has happened.
    pub async fn send(&self, request: SendRequest) -> Result<Started> {
        if request.text.trim().is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if request.text.len() > MAX_MESSAGE_BYTES {
            return Err(Error::InvalidInput {
                what: "The message is larger than 16 MiB; no model can hold it.".into(),
            });
        }
        let turned = self
            .store()
            .begin_turn(
                request.conversation_id.as_deref(),
                request.parent_id.as_deref(),
                request.edit_of.as_deref(),
                &request.text,
                &title(&request.text),
                self.presence(),
            )
            .await?;
        self.emit(CoreEvent::ConversationsChanged);
        self.begin(turned).await
    }

    /// Writes another answer beside `answer`, which stays.
    pub async fn regenerate(&self, answer: &str) -> Result<Started> {
        let turned = self.store().begin_again(answer, self.presence()).await?;
        self.begin(turned).await
    }

    /// Goes on writing `answer` where it ended.
    pub async fn go_on(&self, answer: &str) -> Result<Started> {
        let turned = self.store().begin_continuing(answer, self.presence()).await?;
        self.begin(turned).await
    }

    /// Stops writing `answer`. What is written stays. Nothing happens when it is over already.
    pub fn stop(&self, answer: &str) {
        if let Some(writing) = self.live().lock().get(answer) {
            writing.stop.send_replace(true);
        }
    }

    /// A conversation as it is at this moment, the answer in progress included.
    pub async fn open_conversation(&self, id: &str) -> Result<Conversation> {
        let mut conversation = self.store().conversation(id).await?;
        self.bring_up_to_date(&mut conversation.messages);
        Ok(conversation)
    }

    /// Shows the branch that leads through `message`.
    pub async fn select_branch(&self, message: &str) -> Result<Conversation> {
        let mut conversation = self.store().select_branch(message).await?;
        self.bring_up_to_date(&mut conversation.messages);
        Ok(conversation)
    }

    /// Stops every answer and waits, a moment at most, until what they say is saved.
    pub(crate) async fn stop_all(&self) {
        for writing in self.live().lock().values() {
            writing.stop.send_replace(true);
        }
        for _ in 0..100 {
            if self.live().lock().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn bring_up_to_date(&self, messages: &mut [Message]) {
        let live = self.live().lock();
        for message in messages {
            if let Some(writing) = live.get(&message.id) {
                message.text.clone_from(&writing.text);
            }
        }
    }

    async fn begin(&self, turned: Turned) -> Result<Started> {
        let answer = self.store().message(&turned.answer).await?;
        let user_message = match &turned.user_message {
            Some(id) => Some(self.store().message(id).await?),
            None => None,
        };
        let (stop, stopping) = watch::channel(false);
        let writing = Writing { text: answer.text.clone(), length_utf16: length_utf16(&answer.text), stop };
        self.live().lock().insert(answer.id.clone(), writing);
        self.emit(CoreEvent::AnswerStarted {
            conversation_id: turned.conversation_id.clone(),
            message_id: answer.id.clone(),
        });
        tokio::spawn(self.clone().write(answer.clone(), stopping));
        Ok(Started { conversation_id: turned.conversation_id, user_message, answer })
    }
}

/// JavaScript's length of a string.
fn length_utf16(text: &str) -> u32 {
    text.encode_utf16().count() as u32
}

/// The first line of a message, cut at a word.
fn title(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim_start_matches(['#', '>', '*', '-', ' ']);
    if line.chars().count() <= TITLE_CHARS {
        return line.to_owned();
    }
    let cut: String = line.chars().take(TITLE_CHARS).collect();
    let whole = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{whole}…")
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn titles_are_the_first_line_cut_at_a_word() {
        let check = |text: &str, expected: &str| assert_eq!(title(text), expected);
        check("  Why is the sky blue?\nReally.", "Why is the sky blue?");
        check("## A heading", "A heading");
        check(&"word ".repeat(30), "word word word word word word word word word word word word…");
        check(&"é".repeat(80), &format!("{}…", "é".repeat(60)));
    }
}
