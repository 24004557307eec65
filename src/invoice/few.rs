//! Lists that mostly have one member: it lies in the list itself, and only more of them need room elsewhere.

use std::ops::{Deref, DerefMut};

#[derive(Clone, Debug, Default)]
#[expect(clippy::box_collection, reason = "a list of one is to take no more than its member")]
pub enum Few<T> {
    #[default]
    None,
    One(T),
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    pub fn push(&mut self, thing: T) {
        self.insert(self.len(), thing);
    }

    pub fn insert(&mut self, place: usize, thing: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(thing),
            Few::One(other) if place == 0 => Few::Many(Box::new(vec![thing, other])),
            Few::One(other) => Few::Many(Box::new(vec![other, thing])),
            Few::Many(mut things) => {
                things.reserve_exact(1);
                things.insert(place, thing);
                Few::Many(things)
            }
        };
    }

    pub fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        match self {
            Few::One(thing) if !is_kept(thing) => *self = Few::None,
            Few::Many(things) => things.retain(is_kept),
            Few::None | Few::One(_) => {}
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(thing) => std::slice::from_ref(thing),
            Few::Many(things) => things,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(thing) => std::slice::from_mut(thing),
            Few::Many(things) => things,
        }
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Few<T>) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut things: Vec<T>) -> Few<T> {
        match things.len() {
            0 => Few::None,
            1 => Few::One(things.remove(0)),
            _ => {
                things.shrink_to_fit();
                Few::Many(Box::new(things))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_a_list_like_any_other() {
        let (mut few, mut list) = (Few::default(), Vec::new());
        for (place, number) in [(0, 1), (0, 2), (2, 3), (1, 4)] {
            few.insert(place, number);
            list.insert(place, number);
            assert_eq!(few[..], list[..]);
            assert_eq!(few, Few::from(list.clone()));
        }
        for gone in [4, 1, 3, 2] {
            few.retain(|number| *number != gone);
            list.retain(|number| *number != gone);
            assert_eq!(few[..], list[..]);
        }
    }
}
