//! The real window under Xvfb, driven over WebDriver: what a person does and sees.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, key::Key, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use tektra_core::Store;
use tektra_tests::{Folder, PATIENCE, executable, folder_with_starter};

/// A display, a driver and a data folder; everything that was started for them ends with it.
struct Desk {
    folder: Folder,
    display: String,
    port: u16,
    xvfb: Child,
    driver: Child,
    /// In the environment of every process that this desk starts: the driver puts the window into a group of its own.
    mark: String,
}

impl Desk {
    fn new(folder: Folder, engine: &str) -> Self {
        let mut xvfb = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb: run `make setup`");
        let mut number = String::new();
        BufReader::new(xvfb.stdout.take().expect("a pipe")).read_line(&mut number).expect("a display");
        let display = format!(":{}", number.trim());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let mark = format!("TEKTRA_TEST_DESK={display}-{port}");
        let driver = Command::new("WebKitWebDriver")
            .args([&format!("--port={port}"), "--host=127.0.0.1"])
            .envs(environment(&display, folder.0.path(), engine))
            .env("TEKTRA_TEST_DESK", format!("{display}-{port}"))
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("WebKitWebDriver: run `make setup`");
        Self { folder, display, port, xvfb, driver, mark }
    }

    /// Opens the window.
    async fn open(&self) -> Window {
        let options = serde_json::json!({ "binary": executable("tektra"), "args": [] });
        let capabilities: Capabilities = [("webkitgtk:browserOptions".to_owned(), options)].into_iter().collect();
        let begun = Instant::now();
        loop {
            let connected = ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities.clone())
                .connect(&format!("http://127.0.0.1:{}", self.port))
                .await;
            match connected {
                Ok(client) => return Window(client),
                // The driver takes a moment to listen.
                Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => panic!("no window: {error}"),
            }
        }
    }

    /// Processes of this desk whose name is `name`.
    fn processes(&self, name: &str) -> Vec<u32> {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        all.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let ours = fs::read(entry.path().join("environ"))
                .ok()?
                .split(|byte| *byte == 0)
                .any(|line| line == self.mark.as_bytes());
            let called = fs::read_to_string(entry.path().join("comm")).ok()?;
            (ours && called.trim() == name).then_some(pid)
        })
        .collect()
    }

    fn kill(&self, name: &str) {
        for pid in self.processes(name) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        for name in ["tektra", "tektra-engine", "scripted-engine", "WebKitWebProces", "WebKitNetworkPr"] {
            self.kill(name);
        }
        let _ = self.driver.wait();
        let _ = self.xvfb.kill();
        let _ = self.xvfb.wait();
    }
}

fn environment(display: &str, home: &Path, engine: &str) -> [(&'static str, std::ffi::OsString); 3] {
    [("DISPLAY", display.into()), ("TEKTRA_HOME", home.into()), ("TEKTRA_ENGINE", executable(engine).into())]
}

/// The window as a person has it.
struct Window(Client);

impl Window {
    async fn say(&self, text: &str) {
        let field = self.0.wait().at_most(PATIENCE).for_element(Locator::Css("textarea[aria-label=Message]")).await;
        let field = field.expect("the message field");
        field.send_keys(text).await.expect("typing");
        field.send_keys(&Key::Return.to_string()).await.expect("Enter");
    }

    /// Waits until `text` can be read anywhere in the window.
    async fn see(&self, text: &str) {
        let begun = Instant::now();
        loop {
            let shown = self.text("body").await;
            if shown.contains(text) {
                return;
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "\"{text}\" does not appear; the window shows:\n{shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the elements that match `selector` show.
    async fn text(&self, selector: &str) -> String {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map((element) => element.innerText).join('\\n')";
        let text = self.0.execute(script, vec![selector.into()]).await.expect("a page");
        text.as_str().unwrap_or_default().to_owned()
    }

    async fn press(&self, selector: &str) {
        let found = self.0.wait().at_most(PATIENCE).for_element(Locator::XPath(selector)).await;
        found.expect(selector).click().await.expect("a click");
    }

    async fn close(self) {
        self.0.close().await.expect("the session ends");
    }
}

#[tokio::test]
async fn a_message_is_answered_word_by_word_and_is_there_after_reopening() {
    let desk = Desk::new(folder_with_starter(), "tektra-engine");
    let store = Store::open(&desk.folder.home()).await.unwrap();
    store.close().await;
    let window = desk.open().await;
    // Counts how often the answer grew, as polling would miss most of it. A sentence is written within two frames.
    window
        .0
        .execute(
            "window.growths = 0; let length = 0;
             new MutationObserver(() => {
                 const now = document.querySelector('article[aria-label=Answer] .markdown')?.innerText.length ?? 0;
                 if (now > length) window.growths += 1;
                 length = now;
             }).observe(document.body, { subtree: true, childList: true, characterData: true });",
            vec![],
        )
        .await
        .unwrap();
    window.say("What is the capital of France? Write a long paragraph about it.").await;
    window.see("First token").await;
    let answer = window.text("article[aria-label=Answer] .markdown").await;
    assert!(answer.contains("France") || answer.contains("Paris"), "{answer}");
    let growths = window.0.execute("return window.growths", vec![]).await.unwrap().as_u64().unwrap();
    assert!(growths >= 3, "the answer streams: it grew {growths} times");
    let strip = window.text("footer").await;
    assert!(strip.contains("Ready") && strip.contains("Q4_1") && strip.contains("CPU"), "{strip}");
    window.close().await;
    desk.kill("tektra");

    let window = desk.open().await;
    window.see(&answer).await;
    window.see("What is the capital of France? Write a long paragraph about it.").await;
    window.see("First token").await;
    window.close().await;
}

#[tokio::test]
async fn stop_keeps_the_text_and_continue_goes_on() {
    let desk = Desk::new(Folder::with_model("small"), "scripted-engine");
    let window = desk.open().await;
    window.say("say 5000 words every 20 ms").await;
    window.see("word5").await;
    window.0.active_element().await.unwrap().send_keys(&Key::Escape.to_string()).await.unwrap();
    window.see("Stopped").await;
    let stopped = window.text("article[aria-label=Answer] .markdown").await;
    assert!(stopped.starts_with("word1 word2"));
    window.press("//button[normalize-space()='Continue']").await;
    window.see("[went on after").await;
    window.close().await;
}

#[tokio::test]
async fn a_killed_engine_and_a_killed_window_lose_nothing() {
    let desk = Desk::new(Folder::with_model("small"), "scripted-engine");
    let window = desk.open().await;
    window.say("say 5000 words every 20 ms").await;
    window.see("word10").await;
    desk.kill("scripted-engine");
    window.see("Interrupted").await;
    window.say("say 2 words").await;
    window.see("7 + 2 tokens").await;

    window.say("say 5000 words every 21 ms").await;
    window.see("word30").await;
    desk.kill("tektra");
    let _ = window.0.close().await;
    let begun = Instant::now();
    while !desk.processes("scripted-engine").is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the engine outlives the window");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let window = desk.open().await;
    window.see("say 5000 words every 21 ms").await;
    let answers = window.text("article[aria-label=Answer]:last-of-type").await;
    assert!(answers.contains("word20") && answers.contains("Interrupted"), "{answers}");
    window.press("(//button[normalize-space()='Continue'])[last()]").await;
    window.see("[went on after").await;
    window.close().await;
}

#[tokio::test]
async fn the_machine_is_shown_live_and_an_answer_where_it_went() {
    let desk = Desk::new(Folder::with_model("small"), "scripted-engine");
    let window = desk.open().await;
    window.say("say 3 words every 20 ms").await;
    window.see("First token").await;
    window.press("//nav//button[contains(normalize-space(), 'Resources')]").await;
    window.see("Everything else").await;
    window.see("available").await;
    // A figure of this machine, and not a dash: the first sample has no rates, the next ones do.
    let begun = Instant::now();
    loop {
        let shown = window.text("section[aria-label=Resources]").await;
        let mut words = shown.split_whitespace().skip_while(|word| *word != "All");
        if words.nth(1).is_some_and(|figure| figure.parse::<f64>().is_ok()) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no processor time is shown:\n{shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let drawn = window.0.execute("return document.querySelectorAll('.plot canvas').length", vec![]).await.unwrap();
    assert!(drawn.as_u64().unwrap() >= 3, "charts are drawn, whatever the system's language: {drawn}");
    let shown = window.text("body").await;
    assert!(!shown.contains("Something went wrong"), "{shown}");
    window.press("//*[@role='tab'][contains(., 'Where the time goes')]").await;
    window.see("Writing, token by token · 3 tokens").await;
    window.see("Saving on disk · the end").await;
    window.close().await;
}

#[tokio::test]
async fn a_second_start_leaves_at_once_and_the_first_window_stays() {
    let desk = Desk::new(Folder::with_model("small"), "scripted-engine");
    let window = desk.open().await;
    window.see("Starts when you type").await;
    let second = Command::new(executable("tektra"))
        .envs(environment(&desk.display, desk.folder.0.path(), "scripted-engine"))
        .output()
        .expect("a second start");
    assert!(second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("its window comes forward"));
    window.say("say 2 words").await;
    window.see("7 + 2 tokens").await;
    window.close().await;
}

#[test]
fn without_a_display_there_is_a_sentence() {
    let mut command = Command::new(executable("tektra"));
    let output = command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").output().expect("it starts");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("tektra-cli chat"));
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_said_in_the_window() {
    let folder = Folder::with_model("small");
    Store::open(&folder.home()).await.unwrap().close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", folder.home().database().display())).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', 1, x'00', 0)")
        .execute(&pool)
        .await
        .unwrap();
    let desk = Desk::new(folder, "scripted-engine");
    let window = desk.open().await;
    window.see("written by a newer Tektra").await;
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999").execute(&pool).await.unwrap();
    pool.close().await;
    window.press("//button[normalize-space()='Try again']").await;
    window.see("Starts when you type").await;
    window.close().await;
}
