//! `tektra-cli chat` as a person or a script uses it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use tektra_tests::{Folder, interrupt, run, run_with_input, stderr, stdout, terminal};

#[test]
fn chat_reads_a_pipe_answers_in_order_and_stores() {
    let folder = Folder::with_model("small");
    let output = run_with_input(
        terminal(&folder, "scripted-engine").arg("chat"),
        b"say 2 words\n\nAnd?\n/new\nsay 1 words\n/unknown\n/quit\nnever sent\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "word1 word2\nuser: say 2 words | assistant: word1 word2 | user: And?\nword1\n");
    assert!(stderr(&output).contains("/unknown is not known"));

    let output = run(terminal(&folder, "scripted-engine").args(["conversations", "list", "--json"]));
    let list: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let titles: Vec<_> =
        list.as_array().expect("an array").iter().map(|line| line["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["say 1 words", "say 2 words"], "the latest first");
    let id = list[1]["id"].as_str().expect("an id");
    let output = run_with_input(terminal(&folder, "scripted-engine").args(["chat", "--conversation", id]), b"More\n");
    assert!(stdout(&output).starts_with("user: say 2 words | "), "{}", stdout(&output));
}

/// `chat` in the middle of a long answer.
struct Chatting {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Chatting {
    fn begin(folder: &Folder) -> Self {
        let mut command = terminal(folder, "scripted-engine");
        let mut child =
            command.arg("chat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tektra-cli starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut chatting = Self { child, input, output };
        chatting.say("say 10000 words every 5 ms");
        chatting.output.read_exact(&mut [0; 5]).expect("an answer begins");
        chatting
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        line
    }
}

#[test]
fn chat_stop_ends_the_answer_in_progress() {
    let folder = Folder::with_model("small");
    let mut chatting = Chatting::begin(&folder);
    chatting.say("/stop");
    chatting.say("say 1 words");
    assert!(!chatting.line().contains("word9999"));
    assert_eq!(chatting.line(), "word1\n");
    drop(chatting.input);
    assert_eq!(chatting.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn chat_ctrl_c_stops_the_answer_and_twice_leaves() {
    let folder = Folder::with_model("small");
    let mut chatting = Chatting::begin(&folder);
    interrupt(&chatting.child);
    assert!(!chatting.line().contains("word9999"));
    chatting.say("say 1 words");
    assert_eq!(chatting.line(), "word1\n", "after one Ctrl+C the conversation goes on");
    // Two presses with a long pause between are not "twice".
    std::thread::sleep(Duration::from_millis(2100));
    interrupt(&chatting.child);
    std::thread::sleep(Duration::from_millis(200));
    interrupt(&chatting.child);
    assert_eq!(chatting.child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_script_notices_a_failed_answer_in_chat() {
    let folder = Folder::with_model("small");
    let output = run_with_input(terminal(&folder, "scripted-engine").arg("chat"), b"fail\n");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let output = run_with_input(terminal(&Folder::new(), "scripted-engine").arg("chat"), b"hello\n");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}
