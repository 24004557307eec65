//! Frames of Kafka's protocol, walked through.

/// A frame that is read from its start, and overwritten here and there. Nothing is where the frame has ended.
pub(super) struct Walk<'a> {
    frame: &'a mut [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn over(frame: &'a mut [u8]) -> Walk<'a> {
        Walk { frame, at: 0 }
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.frame.get(self.at..)?.first_chunk().copied()?;
        self.at += N;
        Some(bytes)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.bytes().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    /// Passes over a text, or over none.
    pub(super) fn text(&mut self) -> Option<&mut Self> {
        let length = self.i16()?.max(0);
        self.skip(length as usize)
    }

    /// The next text's bytes.
    pub(super) fn word(&mut self) -> Option<&[u8]> {
        let from = self.at + 2;
        self.text()?;
        self.frame.get(from..self.at)
    }

    pub(super) fn skip(&mut self, length: usize) -> Option<&mut Self> {
        self.at += length;
        (self.at <= self.frame.len()).then_some(self)
    }

    /// Passes over bytes with a long length.
    pub(super) fn blob(&mut self) -> Option<&mut Self> {
        let length = self.i32()?.max(0);
        self.skip(length as usize)
    }

    pub(super) fn back(&mut self, length: usize) -> &mut Self {
        self.at -= length;
        self
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.frame.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }
}
