//! Chat templates: the Jinja program in a GGUF file that turns a conversation into the text its model was trained on.
//! They are written for Python's jinja2 as Hugging Face's transformers sets it up; this is the same setup.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Enumerator, Kwargs, Object, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};

/// For files that bring no template.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + \
    '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// How many instructions a template may take. The longest known ones need some hundreds for a message.
const FUEL: u64 = 20_000_000;

/// How long a prompt may become.
const MAX_BYTES: usize = 64 << 20;

/// How long a list may be that is printed: `[0] * 10**12` takes no time to make, but for ever to print.
const MAX_ITEMS: usize = 1 << 20;

/// Why a template or a conversation can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template doesn't compile or failed halfway.
    #[error("the model's chat template is faulty: {0}")]
    Faulty(String),
    /// The template itself rejects the conversation, for instance a system message.
    #[error("the model's chat template rejects this conversation: {0}")]
    Rejected(String),
}

/// What a template said with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// A chat template that is known to compile.
#[derive(Clone, Debug)]
pub(crate) struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Checks the template's syntax. `bos` and `eos` are the names of the model's tokens, empty if it has none.
    pub(crate) fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        // Markers for training on the assistant's part only; they print nothing.
        let mut source = source.to_owned();
        for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            source = source.replace(&format!("{open} generation {close}"), &format!("{open} if true {close}"));
            source = source.replace(&format!("{open} endgeneration {close}"), &format!("{open} endif {close}"));
        }
        environment().template_from_str(&source)?;
        Ok(Self { source, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The ChatML template, for files without one.
    pub(crate) fn chatml() -> Self {
        Self { source: CHATML.to_owned(), bos: String::new(), eos: String::new() }
    }

    /// The prompt for a conversation of roles and contents. With `add_generation_prompt` it ends where the answer of
    /// the assistant is to begin.
    pub(crate) fn render(
        &self,
        messages: &[(&str, &str)],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let message = |(role, content): &(&str, &str)| {
            Value::from_object(Message { role: (*role).into(), content: (*content).into() })
        };
        let messages: Vec<_> = messages.iter().map(message).collect();
        let mut prompt = Limited(Vec::new());
        environment().template_from_str(&self.source)?.render_captured_to(
            context! {
                messages,
                add_generation_prompt,
                bos_token => self.bos,
                eos_token => self.eos,
                // As transformers has it: not undefined but none.
                tools => (),
                documents => (),
            },
            &mut prompt,
        )?;
        String::from_utf8(prompt.0).map_err(|error| TemplateError::Faulty(error.to_string()))
    }
}

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = cause {
            if let Some(Raised(message)) = current.downcast_ref() {
                return Self::Rejected(message.clone());
            }
            cause = current.source();
        }
        Self::Faulty(error.to_string())
    }
}

/// Collects the prompt, up to a size that only a runaway template passes.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::Error::other("the prompt is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message as the dict that templates expect, its keys in Python's order.
#[derive(Debug)]
struct Message {
    role: Arc<str>,
    content: Arc<str>,
}

impl Object for Message {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(self.role.clone().into()),
            "content" => Some(self.content.clone().into()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| {
        if value.kind() != ValueKind::String && value.len().is_some_and(|len| len > MAX_ITEMS) {
            return Err(Error::new(ErrorKind::InvalidOperation, "the list is too long to print"));
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |format: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        strftime(format, now.as_secs())
    });
    environment.add_filter("tojson", |value: &Value, options: Kwargs| -> Result<String, Error> {
        let mut json = String::new();
        write_json(value, options.get("indent")?, 0, &mut json)?;
        Ok(json)
    });
    environment
}

/// JSON with the spacing of Python's `json.dumps(…, ensure_ascii=False)`; minijinja's own escapes HTML.
fn write_json(value: &Value, indent: Option<usize>, depth: usize, json: &mut String) -> Result<(), Error> {
    let is_map = value.kind() == ValueKind::Map;
    match value.kind() {
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
            let line = |depth| indent.map(|width| format!("\n{}", " ".repeat(width * depth)));
            json.push(if is_map { '{' } else { '[' });
            let mut first = true;
            for item in value.try_iter()? {
                if !first {
                    json.push_str(if indent.is_some() { "," } else { ", " });
                }
                first = false;
                json.push_str(&line(depth + 1).unwrap_or_default());
                if is_map {
                    json.push_str(&quoted(&item.to_string())?);
                    json.push_str(": ");
                    write_json(&value.get_item(&item)?, indent, depth + 1, json)?;
                } else {
                    write_json(&item, indent, depth + 1, json)?;
                }
            }
            if !first {
                json.push_str(&line(depth).unwrap_or_default());
            }
            json.push(if is_map { '}' } else { ']' });
        }
        ValueKind::Undefined | ValueKind::None => json.push_str("null"),
        ValueKind::Bool => json.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => json.push_str(&value.to_string()),
        _ => json.push_str(&quoted(&value.to_string())?),
    }
    Ok(())
}

fn quoted(text: &str) -> Result<String, Error> {
    serde_json::to_string(text).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// The directives of C's `strftime` that templates use, in English and UTC.
fn strftime(format: &str, seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that some lack is the last one of the year.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(days % 7) as usize]);

    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => text += &year.to_string(),
            Some('y') => text += &format!("{:02}", year % 100),
            Some('m') => text += &format!("{month:02}"),
            Some('d') => text += &format!("{day:02}"),
            Some('e') => text += &format!("{day:2}"),
            Some('B') => text += month_name,
            Some('b' | 'h') => text += &month_name[..3],
            Some('A') => text += day_name,
            Some('a') => text += &day_name[..3],
            Some('H') => text += &format!("{hour:02}"),
            Some('I') => text += &format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => text += if hour < 12 { "AM" } else { "PM" },
            Some('M') => text += &format!("{minute:02}"),
            Some('S') => text += &format!("{second:02}"),
            Some('F') => text += &format!("{year}-{month:02}-{day:02}"),
            Some('T') => text += &format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
