//! `chat`: a conversation in the terminal, stored like the window's.

use std::{
    io::{self, BufRead, IsTerminal},
    time::{Duration, Instant},
};

use tektra_core::{CoreEvent, EngineOptions, EngineState, Home, Message, MessageStatus, SendRequest, Tektra};
use tokio::sync::{broadcast, mpsc};

use crate::{
    Choice,
    ask::summary,
    outcome::{Outcome, complain, exit_code, readable, say},
};

/// Two presses of Ctrl+C within this time mean "leave".
const TWICE: Duration = Duration::from_secs(2);

pub(crate) async fn chat(home: Home, choice: Choice, conversation: Option<String>) -> Outcome {
    let options = EngineOptions { threads: choice.threads, ..EngineOptions::find() };
    let tektra = match Tektra::open_with(home, options, choice.overrides()).await {
        Ok(tektra) => tektra,
        Err(error) => return error.into(),
    };
    if let Some(id) = &conversation
        && let Err(error) = tektra.open_conversation(id).await
    {
        return error.into();
    }
    let interactive = io::stdin().is_terminal();
    if interactive {
        eprintln!("Tektra {}. /new begins another conversation, /quit leaves.", env!("CARGO_PKG_VERSION"));
    }
    let (events, lines) = (tektra.events(), read_lines());
    let mut session =
        Session { events, lines, interactive, conversation, interrupted: None, failure: None, tektra: tektra.clone() };
    let outcome = session.run().await;
    let failure = session.failure;
    tektra.close().await;
    match (outcome, failure) {
        // In a script, a failed answer must not look like success.
        (Outcome::Done | Outcome::NobodyListens, Some(code)) if !interactive => {
            std::process::exit(exit_code(code).into());
        }
        (outcome, _) => outcome,
    }
}

struct Session {
    tektra: Tektra,
    events: broadcast::Receiver<CoreEvent>,
    lines: mpsc::UnboundedReceiver<String>,
    interactive: bool,
    conversation: Option<String>,
    interrupted: Option<Instant>,
    failure: Option<tektra_core::ErrorCode>,
}

/// What ends the wait for an answer early.
enum Next {
    Go,
    Leave(Outcome),
}

impl Session {
    async fn run(&mut self) -> Outcome {
        let mut waiting = std::collections::VecDeque::new();
        loop {
            let line = match waiting.pop_front() {
                Some(line) => line,
                None => {
                    if self.interactive {
                        eprint!("\n> ");
                    }
                    tokio::select! {
                        line = self.lines.recv() => match line {
                            Some(line) => line,
                            None => return Outcome::Done,
                        },
                        _ = tokio::signal::ctrl_c() => {
                            if self.pressed_twice() {
                                return Outcome::Interrupted;
                            }
                            eprintln!("\nPress Ctrl+C again to leave.");
                            continue;
                        }
                    }
                }
            };
            match line.trim() {
                "" | "/stop" => {}
                "/quit" => return Outcome::Done,
                "/new" => {
                    self.conversation = None;
                    eprintln!("A new conversation.");
                }
                command if command.starts_with('/') && !command.contains(' ') => {
                    eprintln!("{command} is not known. There are /stop, /new and /quit.");
                }
                _ => match self.converse(line, &mut waiting).await {
                    Next::Go => {}
                    Next::Leave(outcome) => return outcome,
                },
            }
        }
    }

    async fn converse(&mut self, text: String, waiting: &mut std::collections::VecDeque<String>) -> Next {
        let request = SendRequest { conversation_id: self.conversation.clone(), text, ..SendRequest::default() };
        let started = match self.tektra.send(request).await {
            Ok(started) => started,
            Err(error) => {
                complain(&error);
                self.failure = Some(error.code());
                return Next::Go;
            }
        };
        self.conversation = Some(started.conversation_id);
        let answer = started.answer.id;
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(CoreEvent::AnswerDelta { message_id, text, .. }) if message_id == answer => {
                        match say(&text) {
                            Outcome::Done => {}
                            cut => return Next::Leave(cut),
                        }
                    }
                    Ok(CoreEvent::AnswerFinished { message, .. }) if message.id == answer => {
                        return match self.ended(&message) {
                            Outcome::Done => Next::Go,
                            cut => Next::Leave(cut),
                        };
                    }
                    Ok(CoreEvent::EngineState { state }) => tell(&state, self.interactive),
                    Ok(CoreEvent::StoreTrouble { error: Some(error) }) => eprintln!("\n{} {}", error.message, error.hint),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Next::Leave(Outcome::Done),
                },
                Some(line) = self.lines.recv() => match line.trim() {
                    "/stop" => self.tektra.stop(&answer),
                    "/quit" if self.interactive => return Next::Leave(Outcome::Done),
                    _ => waiting.push_back(line),
                },
                _ = tokio::signal::ctrl_c() => {
                    if self.pressed_twice() {
                        return Next::Leave(Outcome::Interrupted);
                    }
                    self.tektra.stop(&answer);
                }
            }
        }
    }

    /// Tells how the answer ended; what became of its last line.
    fn ended(&mut self, message: &Message) -> Outcome {
        let said = say("\n");
        match message.status {
            MessageStatus::Stopped => eprintln!("Stopped."),
            MessageStatus::Failed | MessageStatus::Interrupted => {
                if let Some(error) = &message.error {
                    eprintln!("{}\n{}", error.message, error.hint);
                    self.failure = Some(error.code);
                }
            }
            _ => {}
        }
        if let (Some(receipt), true) = (&message.receipt, self.interactive) {
            eprintln!("{}", summary(receipt));
        }
        said
    }

    fn pressed_twice(&mut self) -> bool {
        let before = self.interrupted.replace(Instant::now());
        before.is_some_and(|before| before.elapsed() < TWICE)
    }
}

fn tell(state: &EngineState, interactive: bool) {
    if let (EngineState::Loading { model, size_mib, .. }, true) = (state, interactive) {
        eprintln!("Loading {model}, {size_mib} MiB");
    }
}

/// Lines of standard input, read by a thread of their own so that `/stop` is heard while an answer is written.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (lines, reader) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut bytes = Vec::new();
            match stdin.read_until(b'\n', &mut bytes) {
                Ok(1..) if lines.send(readable(bytes).trim_end_matches(['\r', '\n']).to_owned()).is_ok() => {}
                _ => return,
            }
        }
    });
    reader
}
