//! Terms that many customers have are kept once.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::catalog::customer::CustomerTerms;

#[derive(Default)]
pub(super) struct SharedTerms(HashSet<Arc<CustomerTerms>>);

impl SharedTerms {
    /// The same terms as everybody's who has them.
    pub(super) fn share(&mut self, terms: CustomerTerms) -> Arc<CustomerTerms> {
        if let Some(known) = self.0.get(&terms) {
            return known.clone();
        }
        // Before it takes more room, what nobody has any more goes.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|known| Arc::strong_count(known) > 1);
        }
        let terms = Arc::new(terms);
        self.0.insert(terms.clone());
        terms
    }
}
