//! Where things lie, by numbers that mostly lie close together: a page of places for each stretch of numbers.

use hashbrown::HashMap;

const PAGE: u32 = 32;
const NOWHERE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Places {
    pages: HashMap<u32, Box<[u32; PAGE as usize]>>,
}

impl Places {
    pub(super) fn get(&self, number: u32) -> Option<u32> {
        let place = self.pages.get(&(number / PAGE))?[(number % PAGE) as usize];
        (place != NOWHERE).then_some(place)
    }

    pub(super) fn insert(&mut self, number: u32, place: u32) {
        let page = self.pages.entry(number / PAGE).or_insert_with(|| Box::new([NOWHERE; PAGE as usize]));
        page[(number % PAGE) as usize] = place;
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<u32> {
        let page = self.pages.get_mut(&(number / PAGE))?;
        let place = std::mem::replace(&mut page[(number % PAGE) as usize], NOWHERE);
        if page.iter().all(|place| *place == NOWHERE) {
            self.pages.remove(&(number / PAGE));
        }
        (place != NOWHERE).then_some(place)
    }

    /// The numbers of all that is somewhere, in no order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.pages.iter().flat_map(|(first, page)| {
            (first * PAGE..)
                .zip(page.iter())
                .filter(|(_, place)| **place != NOWHERE)
                .map(|(number, _)| number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_somewhere_is_found_until_it_is_removed() {
        let mut places = Places::default();
        for (place, number) in [0, 31, 32, 4711].into_iter().enumerate() {
            places.insert(number, place as u32);
        }
        assert_eq!(
            [0, 1, 31, 32, 4711].map(|number| places.get(number)),
            [Some(0), None, Some(1), Some(2), Some(3)]
        );
        assert_eq!((places.remove(0), places.remove(0), places.remove(4711)), (Some(0), None, Some(3)));
        let mut numbers: Vec<u32> = places.numbers().collect();
        numbers.sort_unstable();
        assert_eq!((numbers, places.pages.len()), (vec![31, 32], 2));
    }
}
