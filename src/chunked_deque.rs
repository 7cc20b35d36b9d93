//! A queue in chunks, for what grows with the log. A ring buffer that grows copies all that it
//! holds, and with many elements that takes longer than a turn of the loop may.

use std::collections::VecDeque;

/// How many elements a chunk holds.
const CHUNK: usize = 256;

/// A queue in chunks. All but the first and the last are full, and none is empty but an only
/// one.
#[derive(Debug)]
pub struct ChunkedDeque<T> {
    chunks: VecDeque<VecDeque<T>>,
}

impl<T> Default for ChunkedDeque<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new() }
    }
}

impl<T> FromIterator<T> for ChunkedDeque<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut queue = Self::default();
        elements.into_iter().for_each(|element| queue.push_back(element));
        queue
    }
}

impl<T> ChunkedDeque<T> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        let last = self.chunks.back().map_or(0, VecDeque::len);
        match self.chunks.len() {
            0 | 1 => last,
            chunks => self.in_first() + (chunks - 2) * CHUNK + last,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.in_first() == 0
    }

    fn in_first(&self) -> usize {
        self.chunks.front().map_or(0, VecDeque::len)
    }

    /// The element that so many are before.
    pub fn get(&self, position: usize) -> Option<&T> {
        let (chunk, within) = self.place_of(position);
        self.chunks.get(chunk)?.get(within)
    }

    /// In which chunk the position lies, and where there.
    fn place_of(&self, position: usize) -> (usize, usize) {
        match position.checked_sub(self.in_first()) {
            None => (0, position),
            Some(behind) => (1 + behind / CHUNK, behind % CHUNK),
        }
    }

    /// The newest element.
    pub fn back(&self) -> Option<&T> {
        self.chunks.back()?.back()
    }

    /// Adds an element behind all others.
    pub fn push_back(&mut self, element: T) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => last.push_back(element),
            _ => {
                let mut chunk = VecDeque::with_capacity(CHUNK);
                chunk.push_back(element);
                self.chunks.push_back(chunk);
            }
        }
    }

    /// Takes the oldest element.
    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.chunks.front_mut()?;
        let element = first.pop_front();
        // An only one stays: a queue that is empty again and again needs no memory anew.
        if first.is_empty() && self.chunks.len() > 1 {
            self.chunks.pop_front();
        }
        element
    }

    /// Takes all elements from the position on.
    #[must_use]
    pub fn split_off(&mut self, position: usize) -> Self {
        let (chunk, within) = self.place_of(position);
        if position >= self.len() {
            return Self::default();
        }
        let mut taken = self.chunks.split_off(chunk);
        if within > 0
            && let Some(cut) = taken.front_mut()
        {
            let rest = cut.split_off(within);
            self.chunks.push_back(std::mem::replace(cut, rest));
        }
        Self { chunks: taken }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Pop(usize),
        /// Keeps so many of a hundred parts; goes on with what was split off, or with the rest.
        Split(usize, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3 * CHUNK).prop_map(Step::Push),
            (0..2 * CHUNK).prop_map(Step::Pop),
            (0..=100_usize, any::<bool>()).prop_map(|(kept, swap)| Step::Split(kept, swap)),
        ]
    }

    fn assert_same(queue: &ChunkedDeque<usize>, model: &VecDeque<usize>) {
        assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(queue.back(), model.back());
        for position in 0..model.len() + 2 {
            assert_eq!(queue.get(position), model.get(position), "at {position}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_queue_like_any_other(steps in vec(step(), 1..40)) {
            let (mut queue, mut model) = (ChunkedDeque::default(), VecDeque::new());
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Push(count) => for _ in 0..count {
                        queue.push_back(next);
                        model.push_back(next);
                        next += 1;
                    },
                    Step::Pop(count) => for _ in 0..count {
                        assert_eq!(queue.pop_front(), model.pop_front());
                    },
                    Step::Split(kept, swap) => {
                        let at = model.len() * kept / 100;
                        let (mut taken, mut expected) = (queue.split_off(at), model.split_off(at));
                        assert_same(&taken, &expected);
                        if swap {
                            std::mem::swap(&mut queue, &mut taken);
                            std::mem::swap(&mut model, &mut expected);
                        }
                    }
                }
                assert_same(&queue, &model);
            }
        }
    }

    /// Where the elements lie in memory tells whether they were copied.
    #[test]
    fn what_is_there_stays_where_it_is_while_others_come() {
        let mut queue: ChunkedDeque<usize> = (0..CHUNK).collect();
        let place = |queue: &ChunkedDeque<usize>| std::ptr::from_ref(queue.get(7).expect("there"));
        let before = place(&queue);
        (0..100_000).for_each(|element| queue.push_back(element));
        assert_eq!(place(&queue), before);
    }
}
