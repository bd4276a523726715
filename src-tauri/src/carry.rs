//! The way of the core's events to the page.

use std::time::Duration;

use tektra_core::CoreEvent;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until},
};

/// How long pieces of answers are gathered: a message to the page costs the same for one word and for many, in this
/// process and in the page's, and nobody sees words come thirty-three times a second or more often.
pub(crate) const GATHER: Duration = Duration::from_millis(30);

/// Sends everything that happens, in its order, until the core closes. A piece of an answer that comes within `gather` of
/// the last ones waits so long, and goes with the pieces that follow it; other events, and those pieces before them, go at
/// once.
pub(crate) async fn carry(mut events: Receiver<CoreEvent>, gather: Duration, mut send: impl FnMut(CoreEvent)) {
    let mut waiting = Vec::new();
    let mut next = Instant::now();
    loop {
        let event = tokio::select! {
            biased;
            () = sleep_until(next), if !waiting.is_empty() => None,
            event = events.recv() => Some(event),
        };
        match event {
            Some(Ok(event @ CoreEvent::AnswerDelta { .. })) => {
                add(&mut waiting, event);
                if Instant::now() < next {
                    continue;
                }
            }
            Some(Ok(event)) => {
                waiting.drain(..).chain([event]).for_each(&mut send);
                continue;
            }
            // The page sees the gap by the offsets and reads the conversation anew.
            Some(Err(RecvError::Lagged(missed))) => tracing::warn!(missed, "the window is too slow for the events"),
            Some(Err(RecvError::Closed)) => return waiting.into_iter().for_each(send),
            None => {}
        }
        waiting.drain(..).for_each(&mut send);
        next = Instant::now() + gather;
    }
}

/// Puts a piece behind those of its answer that wait, unless there is a gap between.
fn add(waiting: &mut Vec<CoreEvent>, piece: CoreEvent) {
    if let CoreEvent::AnswerDelta { message_id: answer, offset_utf16: offset, text: more, tokens: by_now, .. } = &piece
    {
        for earlier in waiting.iter_mut().rev() {
            if let CoreEvent::AnswerDelta { message_id, offset_utf16, text, tokens, .. } = earlier
                && message_id == answer
            {
                if *offset_utf16 as usize + text.encode_utf16().count() != *offset as usize {
                    break;
                }
                text.push_str(more);
                *tokens = *by_now;
                return;
            }
        }
    }
    waiting.push(piece);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::broadcast;

    /// What the page hears of `events`, which are all there from the start, written down.
    fn heard(gather: Duration, events: Vec<CoreEvent>) -> Vec<String> {
        let (sender, receiver) = broadcast::channel(64);
        for event in events {
            sender.send(event).expect("a receiver");
        }
        drop(sender);
        let mut heard = Vec::new();
        tauri::async_runtime::block_on(carry(receiver, gather, |event| {
            heard.push(match event {
                CoreEvent::AnswerDelta { message_id, offset_utf16, text, tokens, .. } => {
                    format!("{message_id}@{offset_utf16} {text} ({tokens})")
                }
                _ => "other".into(),
            });
        }));
        heard
    }

    fn piece(answer: &str, offset_utf16: u32, text: &str, tokens: u32) -> CoreEvent {
        let (conversation_id, message_id) = ("c".into(), answer.into());
        CoreEvent::AnswerDelta { conversation_id, message_id, offset_utf16, text: text.into(), tokens }
    }

    #[test]
    fn the_first_piece_goes_at_once_and_later_ones_together() {
        let pieces = vec![piece("a", 0, "On", 1), piece("a", 2, "ce 🦀", 2), piece("a", 7, " upon", 3)];
        assert_eq!(heard(Duration::from_secs(3600), pieces.clone()), ["a@0 On (1)", "a@2 ce 🦀 upon (3)"]);
        assert_eq!(heard(Duration::ZERO, pieces).len(), 3);
    }

    #[test]
    fn other_events_come_after_the_pieces_before_them() {
        let events = vec![
            piece("a", 0, "x", 1),
            piece("a", 1, "y", 2),
            piece("a", 2, "z", 3),
            CoreEvent::ConversationsChanged,
            piece("a", 3, "!", 4),
        ];
        assert_eq!(heard(Duration::from_secs(3600), events), ["a@0 x (1)", "a@1 yz (3)", "other", "a@3 ! (4)"]);
    }

    #[test]
    fn answers_side_by_side_and_gaps_stay_what_they_are() {
        let events = vec![
            piece("a", 0, "x", 1),
            piece("a", 1, "y", 2),
            piece("b", 0, "1", 1),
            piece("a", 2, "z", 3),
            piece("b", 1, "2", 2),
            piece("a", 9, "later", 8),
            piece("a", 14, "!", 9),
        ];
        let heard = heard(Duration::from_secs(3600), events);
        assert_eq!(heard, ["a@0 x (1)", "a@1 yz (3)", "b@0 12 (2)", "a@9 later! (9)"]);
    }
}
