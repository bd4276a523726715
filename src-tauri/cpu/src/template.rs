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
mod tests {
    use super::*;

    const CHAT: &[(&str, &str)] = &[("user", "Hi "), ("assistant", "Yo"), ("user", "<b>")];
    const SYSTEM: &[(&str, &str)] = &[("system", "Be brief."), ("user", "Hi "), ("assistant", "Yo"), ("user", "<b>")];
    const THOUGHT: &[(&str, &str)] = &[("user", "1"), ("assistant", "<think>\nhm\n</think>\n\n2"), ("user", "3")];
    const TWICE: &[(&str, &str)] = &[("user", "1"), ("user", "2")];

    fn render(source: &str, messages: &[(&str, &str)]) -> Result<String, TemplateError> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    fn rejection(source: &str, messages: &[(&str, &str)]) -> String {
        match render(source, messages) {
            Err(TemplateError::Rejected(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn smollm2() {
        let source = concat!(
            "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '",
            "<|im_start|>system\\nYou are SmolLM<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message[",
            "'role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generat",
            "ion_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        );
        assert_eq!(
            render(source, CHAT).unwrap(),
            concat!(
                "<|im_start|>system\nYou are SmolLM<|im_end|>\n<|im_start|>user\nHi <|im_end|>\n",
                "<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\n<b><|im_end|>\n",
                "<|im_start|>assistant\n"
            )
        );
        assert_eq!(
            render(source, SYSTEM).unwrap(),
            concat!(
                "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|>\n",
                "<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\n<b><|im_end|>\n",
                "<|im_start|>assistant\n"
            )
        );
    }

    #[test]
    fn llama3() {
        let source = concat!(
            "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|",
            "start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | tri",
            "m + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% en",
            "dif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assi",
            "stant<|end_header_id|>\\n\\n' }}{% endif %}",
        );
        assert_eq!(
            render(source, CHAT).unwrap(),
            concat!(
                "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
                "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>",
                "<|start_header_id|>user<|end_header_id|>\n\n<b><|eot_id|>",
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            )
        );
    }

    #[test]
    fn llama32() {
        let source = concat!(
            "{{- bos_token }}\n",
            "{%- if not tools is defined %}\n",
            "    {%- set tools = none %}\n",
            "{%- endif %}\n",
            "{%- if messages[0]['role'] == 'system' %}\n",
            "    {%- set system_message = messages[0]['content']|trim %}\n",
            "    {%- set messages = messages[1:] %}\n",
            "{%- else %}\n",
            "    {%- set system_message = \"\" %}\n",
            "{%- endif %}\n",
            "{%- if tools is not none %}\n",
            "    {{- \"Environment: ipython\\n\" }}\n",
            "{%- endif %}\n",
            "{{- system_message }}\n",
            "{%- for message in messages %}\n",
            "    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in m",
            "essage) %}\n",
            "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['",
            "content'] | trim + '<|eot_id|>' }}\n",
            "    {%- elif message.content is mapping or message.content is iterable %}\n",
            "        {{- message.content | tojson }}\n",
            "    {%- endif %}\n",
            "{%- endfor %}\n",
        );
        assert_eq!(
            render(source, CHAT).unwrap(),
            concat!(
                "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
                "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>",
                "<|start_header_id|>user<|end_header_id|>\n\n<b><|eot_id|>"
            )
        );
        assert_eq!(
            render(source, SYSTEM).unwrap(),
            concat!(
                "<s>Be brief.<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
                "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>",
                "<|start_header_id|>user<|end_header_id|>\n\n<b><|eot_id|>"
            )
        );
    }

    #[test]
    fn qwen25() {
        let source = concat!(
            "{%- if tools %}\n",
            "    {{- '# Tools' }}\n",
            "{%- else %}\n",
            "    {%- if messages[0]['role'] == 'system' %}\n",
            "        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n",
            "    {%- endif %}\n",
            "{%- endif %}\n",
            "{%- for message in messages %}\n",
            "    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) or ",
            "(message.role == \"assistant\" and not message.tool_calls) %}\n",
            "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n'",
            " }}\n",
            "    {%- elif message.role == \"assistant\" %}\n",
            "        {{- '<|im_start|>' + message.role }}\n",
            "    {%- endif %}\n",
            "{%- endfor %}\n",
            "{%- if add_generation_prompt %}\n",
            "    {{- '<|im_start|>assistant\\n' }}\n",
            "{%- endif %}\n",
        );
        assert_eq!(
            render(source, SYSTEM).unwrap(),
            concat!(
                "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|>\n",
                "<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\n<b><|im_end|>\n",
                "<|im_start|>assistant\n"
            )
        );
    }

    #[test]
    fn qwen3() {
        let source = concat!(
            "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n",
            "{%- for message in messages[::-1] %}\n",
            "    {%- set index = (messages|length - 1) - loop.index0 %}\n",
            "    {%- if ns.multi_step_tool and message.role == \"user\" and not(message.content.startsw",
            "ith('<tool_response>') and message.content.endswith('</tool_response>')) %}\n",
            "        {%- set ns.multi_step_tool = false %}\n",
            "        {%- set ns.last_query_index = index %}\n",
            "    {%- endif %}\n",
            "{%- endfor %}\n",
            "{%- for message in messages %}\n",
            "    {%- set content = message.content %}\n",
            "    {%- set reasoning_content = '' %}\n",
            "    {%- if message.reasoning_content is defined and message.reasoning_content is not non",
            "e %}\n",
            "        {%- set reasoning_content = message.reasoning_content %}\n",
            "    {%- elif '</think>' in message.content %}\n",
            "        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}\n",
            "        {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\\n').sp",
            "lit('<think>')[-1].lstrip('\\n') %}\n",
            "    {%- endif %}\n",
            "    {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}\n",
            "        {{- message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n",
            "\\n' + content.lstrip('\\n') }}\n",
            "    {%- else %}\n",
            "        {{- message.role + '\\n' + content }}\n",
            "    {%- endif %}\n",
            "{%- endfor %}\n",
            "{%- if enable_thinking is defined and enable_thinking is false %}\n",
            "    {{- '<think>\\n\\n</think>\\n\\n' }}\n",
            "{%- endif %}\n",
        );
        assert_eq!(render(source, THOUGHT).unwrap(), "user\n1assistant\n2user\n3");
        assert_eq!(render(source, &THOUGHT[..2]).unwrap(), "user\n1assistant\n<think>\nhm\n</think>\n\n2");
    }

    #[test]
    fn phi3() {
        let source = concat!(
            "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}",
            "{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %",
            "}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistan",
            "t' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% i",
            "f add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
        );
        assert_eq!(
            render(source, SYSTEM).unwrap(),
            concat!(
                "<|system|>\nBe brief.<|end|>\n<|user|>\nHi <|end|>\n<|assistant|>\nYo<|end|>\n<|user|>\n",
                "<b><|end|>\n<|assistant|>\n"
            )
        );
    }

    #[test]
    fn phi4() {
        let source = concat!(
            "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message an",
            "d message['tools'] is not none %}{{ message['tools'] }}{% else %}{{ '<|' + message['role",
            "'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation",
            "_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
        );
        assert_eq!(
            render(source, SYSTEM).unwrap(),
            concat!(
                "<|system|>Be brief.<|end|><|user|>Hi <|end|><|assistant|>Yo<|end|><|user|><b><|end|>",
                "<|assistant|>"
            )
        );
    }

    #[test]
    fn gemma2() {
        let source = concat!(
            "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role n",
            "ot supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user",
            "') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate use",
            "r/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{",
            "% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_o",
            "f_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% ",
            "if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
        );
        assert_eq!(
            render(source, CHAT).unwrap(),
            concat!(
                "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n",
                "<start_of_turn>user\n<b><end_of_turn>\n<start_of_turn>model\n"
            )
        );
        assert_eq!(rejection(source, SYSTEM), "System role not supported");
        assert_eq!(rejection(source, TWICE), "Conversation roles must alternate user/assistant/user/assistant/...");
    }

    #[test]
    fn mistral() {
        let source = concat!(
            "{%- if messages[0][\"role\"] == \"system\" %}\n",
            "    {%- set system_message = messages[0][\"content\"] %}\n",
            "    {%- set loop_messages = messages[1:] %}\n",
            "{%- else %}\n",
            "    {%- set loop_messages = messages %}\n",
            "{%- endif %}\n",
            "{%- set user_messages = loop_messages | selectattr(\"role\", \"equalto\", \"user\") | list %}\n",
            "{%- set ns = namespace() %}\n",
            "{%- set ns.index = 0 %}\n",
            "{%- for message in loop_messages %}\n",
            "    {%- if (message[\"role\"] == \"user\") != (ns.index % 2 == 0) %}\n",
            "        {{- raise_exception(\"roles must alternate\") }}\n",
            "    {%- endif %}\n",
            "    {%- set ns.index = ns.index + 1 %}\n",
            "{%- endfor %}\n",
            "{{- bos_token }}\n",
            "{%- for message in loop_messages %}\n",
            "    {%- if message[\"role\"] == \"user\" %}\n",
            "        {%- if loop.last and system_message is defined %}\n",
            "            {{- \"[INST]\" + system_message + \"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}\n",
            "        {%- elif tools is not none and (message == user_messages[-1]) %}\n",
            "            {{- \"[AVAILABLE_TOOLS]\" }}\n",
            "        {%- else %}\n",
            "            {{- \"[INST]\" + message[\"content\"] + \"[/INST]\" }}\n",
            "        {%- endif %}\n",
            "    {%- elif message[\"role\"] == \"assistant\" %}\n",
            "        {{- message[\"content\"] + eos_token}}\n",
            "    {%- else %}\n",
            "        {{- raise_exception(\"Only user and assistant roles are supported!\") }}\n",
            "    {%- endif %}\n",
            "{%- endfor %}\n",
        );
        assert_eq!(render(source, CHAT).unwrap(), "<s>[INST]Hi [/INST]Yo</s>[INST]<b>[/INST]");
        assert_eq!(render(source, SYSTEM).unwrap(), "<s>[INST]Hi [/INST]Yo</s>[INST]Be brief.\n\n<b>[/INST]");
        assert_eq!(rejection(source, TWICE), "roles must alternate");
    }

    #[test]
    fn whitespace_and_filters() {
        let source = concat!(
            "{% for message in messages %}\n",
            "    {% if loop.last %}\n",
            "  {{ message | tojson }}|{{ loop.index }}/{{ loop.length }} {{ loop.previtem.role }}\n",
            "    {% endif %}\n",
            "{% endfor %}\n",
            "{{ [1, [2.5, true], {}, none, 'é\"<'] | tojson }}{{ {'a': [1]} | tojson(indent=2) }}\n",
        );
        assert_eq!(
            render(source, CHAT).unwrap(),
            concat!(
                "  {\"role\": \"user\", \"content\": \"<b>\"}|3/3 assistant\n",
                "[1, [2.5, true], {}, null, \"é\\\"<\"]{\n  \"a\": [\n    1\n  ]\n}"
            )
        );
    }

    #[test]
    fn markers() {
        let source = concat!(
            "{% for message in messages %}{%- generation -%} {{ message.content }} {%- endgeneration ",
            "%}\n",
            "{% endfor %}",
        );
        assert_eq!(render(source, CHAT).unwrap(), "Hi Yo<b>");
    }

    #[test]
    fn chatml_by_default() {
        let text = ChatTemplate::chatml().render(&SYSTEM[..2], true).unwrap();
        let expected = concat!(
            "<|im_start|>system\nBe brief.<|im_end|>\n",
            "<|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\n"
        );
        assert_eq!(text, expected);
        assert_eq!(ChatTemplate::chatml().render(&[], false).unwrap(), "");
    }

    #[test]
    fn messages_are_not_templates() {
        let text = render("{{ messages[0].content }}", &[("user", "{{ 1 }}{% if %}")]).unwrap();
        assert_eq!(text, "{{ 1 }}{% if %}");
    }

    #[test]
    fn bad_templates_are_errors() {
        assert!(matches!(ChatTemplate::new("{% if %}", "", ""), Err(TemplateError::Faulty(_))));
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{{ [0] * 100000000000 }}",
            "{{ 'x' * 100000000000 }}",
            "{{ range(100000000000) }}",
            "{{ messages.foo.bar }}",
            "{{ messages[0].content.nope() }}",
            "{{ nope() }}",
            "{{ 1 // 0 }}",
            "{% include 'x' %}",
        ] {
            assert!(matches!(render(source, CHAT), Err(TemplateError::Faulty(_))), "{source}");
        }
        let nested = format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
        assert!(render(&nested, CHAT).is_err());
    }

    #[test]
    fn dates() {
        let format = "%d %b %Y|%Y-%m-%d|%A %a %B %e %y|%H:%M:%S %I %p|%F %T|%% %q %";
        let leap = "29 Feb 2024|2024-02-29|Thursday Thu February 29 24|23:59:59 11 PM|2024-02-29 23:59:59|% %q %";
        assert_eq!(strftime(format, 1_709_251_199), leap);
        assert_eq!(strftime("%d %B %Y %A %I%p", 0), "01 January 1970 Thursday 12AM");
        assert_eq!(strftime("%F", 951_868_800), "2000-03-01");
        assert_eq!(strftime("%F %T", 4_102_444_799), "2099-12-31 23:59:59");
        assert_eq!(render("{{ strftime_now('%Y') | length }}", CHAT).unwrap(), "4");
    }
}
