//! Whole clusters on virtual time.

use quorate::sim;

#[test]
fn first_seeds() {
    let from: u64 = std::env::var("FROM").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    let to: u64 = std::env::var("TO").ok().and_then(|v| v.parse().ok()).unwrap_or(20);
    for seed in from..to {
        match sim::run(seed) {
            Ok(report) => println!("{report:?}"),
            Err(failure) => panic!("{failure}"),
        }
    }
}
