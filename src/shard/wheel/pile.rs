//! What has been read and not been taken yet, in its order.

use std::collections::VecDeque;

use crate::ingest::log::{Batch, Positions, Run};

#[derive(Default)]
pub(super) struct Pile {
    layers: VecDeque<Layer>,
    bytes: usize,
    next: Place,
}

pub(super) enum Layer {
    Run(Run),
    /// With all above it, the logs have been read so far.
    ReadTo(Positions),
}

/// Where a record lies: in which of all layers that there ever were, and where in that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    layer: u64,
    record: usize,
}

impl Place {
    pub(super) fn plus(self, records: usize) -> Place {
        Place { record: self.record + records, ..self }
    }

    fn below(self) -> Place {
        Place { layer: self.layer + 1, record: 0 }
    }
}

impl Pile {
    pub(super) fn put(&mut self, batch: Batch) {
        self.bytes += batch.runs.iter().map(Run::weight_bytes).sum::<usize>();
        self.layers.extend(batch.runs.into_iter().map(Layer::Run));
        match self.layers.back_mut() {
            Some(Layer::ReadTo(read_to)) => *read_to = batch.read_to,
            _ => self.layers.push_back(Layer::ReadTo(batch.read_to)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is to be taken next.
    pub(super) fn top(&self) -> Option<&Layer> {
        self.layers.front()
    }

    /// Where the next record to be taken lies.
    pub(super) fn next(&self) -> Place {
        self.next
    }

    /// Notes that a record of the top layer has been taken.
    pub(super) fn took_one(&mut self) {
        self.next.record += 1;
    }

    /// Removes the top layer.
    pub(super) fn took_layer(&mut self) {
        if let Some(Layer::Run(run)) = self.layers.pop_front() {
            self.bytes -= run.weight_bytes();
        }
        self.next = self.next.below();
    }

    /// The run that lies there or below, and the place of its first record that does.
    pub(super) fn run_at(&self, mut place: Place) -> Option<(&Run, Place)> {
        loop {
            match self.layers.get((place.layer - self.next.layer) as usize)? {
                Layer::Run(run) if place.record < run.len() => return Some((run, place)),
                _ => place = place.below(),
            }
        }
    }
}

impl Place {
    pub(super) fn in_run(self) -> usize {
        self.record
    }
}
