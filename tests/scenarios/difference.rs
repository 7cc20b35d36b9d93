//! How two lists of lines differ, for a person to read.

/// All lines of both in order: those of `told` alone after a minus, those of `played` alone
/// after a plus.
pub fn difference(told: &[String], played: &[String]) -> Vec<String> {
    let common = common_lengths(told, played);
    let (mut at, mut to, mut shown) = (0, 0, Vec::new());
    while at < told.len() || to < played.len() {
        let is_common = at < told.len() && to < played.len() && told[at] == played[to];
        let is_gone =
            to == played.len() || (at < told.len() && common[at + 1][to] >= common[at][to + 1]);
        if is_common {
            shown.push(format!("    {}", told[at]));
            (at, to) = (at + 1, to + 1);
        } else if is_gone {
            shown.push(format!("-   {}", told[at]));
            at += 1;
        } else {
            shown.push(format!("+   {}", played[to]));
            to += 1;
        }
    }
    shown
}

/// For each pair of places, how long the longest list is that both have behind them.
fn common_lengths(told: &[String], played: &[String]) -> Vec<Vec<usize>> {
    let mut lengths = vec![vec![0; played.len() + 1]; told.len() + 1];
    for at in (0..told.len()).rev() {
        for to in (0..played.len()).rev() {
            lengths[at][to] = if told[at] == played[to] {
                lengths[at + 1][to + 1] + 1
            } else {
                lengths[at + 1][to].max(lengths[at][to + 1])
            };
        }
    }
    lengths
}

#[test]
fn what_is_common_stands_once() {
    let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let shown = difference(&lines("a b c"), &lines("a x c d"));
    assert_eq!(shown, ["    a", "-   b", "+   x", "    c", "+   d"]);
}
