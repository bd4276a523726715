//! What is listed: conversations, metrics.

use tektra_core::{Home, Store};

use crate::outcome::{Outcome, say, say_json};

pub(crate) async fn conversations(home: Home, json: bool) -> Outcome {
    let listed = async { Store::open(&home).await?.conversations().await };
    let conversations = match listed.await {
        Ok(conversations) => conversations,
        Err(error) => return error.into(),
    };
    if json {
        return say_json(&conversations);
    }
    if conversations.is_empty() {
        eprintln!("There are no conversations yet. `tektra-cli chat` begins one.");
        return Outcome::Done;
    }
    let lines: String =
        conversations.iter().map(|conversation| format!("{}  {}\n", conversation.id, conversation.title)).collect();
    say(&lines)
}

pub(crate) async fn metrics(home: &Home) -> Outcome {
    let all = tektra_core::metrics_everywhere(home).await;
    match all.as_slice() {
        [] => eprintln!("No window and no conversation in a terminal runs."),
        [_] => {}
        [_, others @ ..] => eprintln!("{} more run beside this one.", others.len()),
    }
    all.first().map_or(Outcome::Done, |text| say(text))
}
