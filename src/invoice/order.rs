//! Names to be sorted by, so that to compare two of them mostly needs nothing but themselves.

/// A name in the order of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortName {
    /// The first sixteen bytes, with zeros behind a shorter name.
    head: (u64, u64),
    rest: Option<Box<[u8]>>,
    /// Names that only differ in zeros at their ends are told apart.
    bytes: usize,
}

impl SortName {
    pub(super) fn of(name: &str) -> SortName {
        let mut head = [0; 16];
        let (first, rest) = name.as_bytes().split_at(name.len().min(16));
        head[..first.len()].copy_from_slice(first);
        let whole = u128::from_be_bytes(head);
        SortName {
            head: ((whole >> 64) as u64, whole as u64),
            rest: (!rest.is_empty()).then(|| rest.into()),
            bytes: name.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_sort_as_texts_do(
            one in "(a{0,17}|b{14,17})[\u{0}-\u{2}é]{0,3}",
            other in "(a{0,17}|b{14,17})[\u{0}-\u{2}é]{0,3}",
        ) {
            prop_assert_eq!(SortName::of(&one).cmp(&SortName::of(&other)), one.cmp(&other));
        }
    }
}
