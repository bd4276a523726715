//! Chat templates as published models have them.

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
