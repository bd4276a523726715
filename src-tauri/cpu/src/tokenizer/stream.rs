//! Text out of the bytes of streamed tokens.

/// Assembles the bytes of streamed tokens into text. A character that isn't complete yet is held back; bytes that can't
/// become one are replaced by U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct TextStream {
    held: Vec<u8>,
}

impl TextStream {
    /// Takes the bytes of the next token and gives the text that is certain by now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut used = 0;
        while let Err(error) = std::str::from_utf8(&self.held[used..]) {
            let good = used + error.valid_up_to();
            text.push_str(&String::from_utf8_lossy(&self.held[used..good]));
            used = good;
            let Some(bad) = error.error_len() else {
                self.held.drain(..used);
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            used += bad;
        }
        text.push_str(&String::from_utf8_lossy(&self.held[used..]));
        self.held.clear();
        text
    }

    /// Gives what is left at the end: U+FFFD for a character that never became complete.
    pub(crate) fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}
