//! The answers of the admin socket as people read them.

use serde_json::Value;

use crate::output::{Align, Table};

/// A column: its heading, where its value stands in a row (a JSON pointer), and how it is aligned.
type Column = (&'static str, &'static str, Align);

const fn left(heading: &'static str, pointer: &'static str) -> Column {
    (heading, pointer, Align::Left)
}

const fn right(heading: &'static str, pointer: &'static str) -> Column {
    (heading, pointer, Align::Right)
}

/// `show status`
pub(super) fn status(answer: &Value) -> String {
    let alarms = rows(answer, "alarms");
    let mut text = plain(
        answer,
        &[
            ("data plane", "/dataplane"),
            ("6to4 role", "/sixtofour/role"),
            ("6to4 address", "/sixtofour/address"),
            ("6to4 MTU", "/sixtofour/mtu"),
            ("router", "/router_ipv6"),
            ("bogons", "/bogons"),
            ("IPv4 routes", "/routes4"),
            ("IPv6 routes", "/routes6"),
            ("neighbours", "/neighbours"),
            ("tables", "/memory/used_bytes"),
            ("data plane deaths", "/dataplane_deaths"),
            ("configuration", "/config"),
            ("version", "/version"),
            ("uptime seconds", "/uptime_seconds"),
        ],
    );
    text.push('\n');
    text.push_str(&list(
        rows(answer, "ports"),
        &[
            left("port", "/name"),
            left("driver", "/driver"),
            left("mode", "/mode"),
            right("queues", "/queues"),
            right("MTU", "/mtu"),
            left("MAC", "/mac"),
        ],
    ));
    text.push('\n');
    text.push_str(&list(
        rows(answer, "workers"),
        &[
            left("worker", "/worker"),
            left("state", "/state"),
            right("turns", "/turns"),
            right("silent ms", "/heartbeat_age_ms"),
        ],
    ));
    text.push('\n');
    if alarms.is_empty() {
        text.push_str("no alarms\n");
    }
    for alarm in alarms {
        text.push_str(&format!("alarm: {}\n", sentence(alarm)));
    }
    text
}

/// The counters of the identity in its order: what comes in, then what becomes of it.
const IDENTITY: [&str; 9] =
    ["received", "injected", "generated", "transmitted", "local", "punted", "dropped", "consumed", "held"];

/// `show counters`: a line for each counter, a column for each worker.
pub(super) fn counters(answer: &Value) -> String {
    let workers = rows(answer, "workers");
    let headings: Vec<String> =
        workers.iter().map(|worker| format!("worker {}", cell(worker.get("worker")))).collect();
    let mut columns = vec![("packets", Align::Left), ("all", Align::Right)];
    columns.extend(headings.iter().map(|heading| (heading.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    let total = answer.get("total").and_then(Value::as_object);
    let mut names: Vec<&str> = total.into_iter().flat_map(|total| total.keys()).map(String::as_str).collect();
    names.sort_by_key(|name| IDENTITY.iter().position(|known| known == name).unwrap_or(IDENTITY.len()));
    for name in names {
        let mut line = vec![name.replace('_', " "), cell(total.and_then(|total| total.get(name)))];
        line.extend(workers.iter().map(|worker| cell(worker.get(name))));
        table.row(line);
    }
    let identity = match answer.pointer("/total/unaccounted").and_then(Value::as_i64) {
        Some(0) => "the sums agree: every packet ended in one verdict\n".to_owned(),
        Some(packets) => format!("{packets} packets are under way\n"),
        None => String::new(),
    };
    let ports = list(
        rows(answer, "ports"),
        &[
            left("port", "/name"),
            right("rx packets", "/rx_packets"),
            right("rx bytes", "/rx_bytes"),
            right("tx packets", "/tx_packets"),
            right("tx bytes", "/tx_bytes"),
            right("seen by XDP", "/xdp/seen"),
            right("to us", "/xdp/redirected"),
            right("to the kernel", "/xdp/passed"),
            right("no socket", "/xdp/no_socket"),
            right("rx ring full", "/sockets/rx_ring_full"),
            right("rx dropped", "/sockets/rx_dropped"),
        ],
    );
    format!("{}{identity}\n{ports}", table.render())
}

/// `show drops`: the reasons that occurred, the most frequent first.
pub(super) fn drops(answer: &Value) -> String {
    let count = |row: &Value| row.get("packets").and_then(Value::as_u64).unwrap_or(0);
    let mut occurred: Vec<Value> =
        rows(answer, "drops").iter().filter(|row| count(row) > 0).cloned().collect();
    if occurred.is_empty() {
        return "no packet was dropped\n".into();
    }
    occurred.sort_by_key(|row| std::cmp::Reverse(count(row)));
    let columns = [
        right("packets", "/packets"),
        left("reason", "/reason"),
        left("clause", "/clause"),
        left("", "/text"),
    ];
    list(&occurred, &columns)
}

/// `show routes`
pub(super) fn routes(answer: &Value) -> String {
    let mut text = list(
        rows(answer, "routes"),
        &[
            left("prefix", "/prefix"),
            left("action", "/action"),
            left("next hop", "/next_hop"),
            left("port", "/port"),
            left("MAC", "/mac"),
        ],
    );
    if answer.get("truncated") == Some(&Value::Bool(true)) {
        let all = format!("{} IPv4, {} IPv6", cell(answer.get("routes4")), cell(answer.get("routes6")));
        text.push_str(&format!("… and more: {all} routes in all\n"));
    }
    text
}

/// `show neighbours`
pub(super) fn neighbours(answer: &Value) -> String {
    let found = rows(answer, "neighbours");
    let mut text = if found.is_empty() { "no neighbours\n".to_owned() } else { String::new() };
    if !found.is_empty() {
        let columns = [
            left("address", "/address"),
            left("port", "/port"),
            left("MAC", "/mac"),
            left("state", "/state"),
            left("gateway", "/gateway"),
            right("packets", "/packets"),
        ];
        text = list(found, &columns);
    }
    match answer.get("refused").and_then(Value::as_u64) {
        None | Some(0) => text,
        Some(refused) => text + &format!("{refused} requests were refused by the budget\n"),
    }
}

/// Names and values, one a line; what the answer does not have is left out.
fn plain(answer: &Value, entries: &[(&str, &str)]) -> String {
    let present = |pointer: &str| answer.pointer(pointer).filter(|value| !value.is_null());
    let width = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    entries
        .iter()
        .filter_map(|(name, pointer)| {
            let value = cell(Some(present(pointer)?));
            let unit = if pointer.ends_with("_bytes") { " bytes" } else { "" };
            Some(format!("{name:<width$}  {value}{unit}\n"))
        })
        .collect()
}

fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn list(rows: &[Value], columns: &[Column]) -> String {
    let headings: Vec<(&str, Align)> = columns.iter().map(|(heading, _, align)| (*heading, *align)).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        table.row(columns.iter().map(|(_, pointer, _)| cell(row.pointer(pointer))).collect());
    }
    table.render()
}

/// An alarm is a sentence, or an object that has one.
fn sentence(alarm: &Value) -> String {
    match alarm {
        Value::Object(parts) => {
            let words: Vec<String> = parts.values().map(|part| cell(Some(part))).collect();
            words.join(": ")
        }
        other => cell(Some(other)),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_reasons_that_occurred_are_shown_the_most_frequent_first() {
        let answer = json!({"v": 1, "total": 15, "drops": [
            {"reason": "no_route", "packets": 3, "clause": "RFC 4443 §3.1", "text": "There is none."},
            {"reason": "hop_limit", "packets": 0, "clause": "RFC 8200 §3", "text": "It ran out."},
            {"reason": "too_big", "packets": 12, "clause": "RFC 4443 §3.2", "text": "It is."},
        ]});
        let text = drops(&answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("12  too_big   RFC 4443 §3.2  It is."), "{text}");
        assert_eq!(drops(&json!({"drops": []})), "no packet was dropped\n");
    }

    #[test]
    fn counters_have_a_column_for_each_worker() {
        let answer = json!({
            "total": {"received": 7, "unaccounted": 0},
            "workers": [{"worker": 0, "received": 3}, {"worker": 1, "received": 4}],
            "ports": [{"name": "wan4", "rx_packets": 7, "xdp": {"seen": 9}}],
        });
        let text = counters(&answer);
        assert!(text.starts_with("packets      all  worker 0  worker 1\n"), "{text}");
        assert!(text.contains("received       7         3         4"), "{text}");
        assert!(text.contains("the sums agree"), "{text}");
    }

    #[test]
    fn nothing_that_is_missing_is_a_panic() {
        for show in [status, counters, drops, routes, neighbours] {
            for odd in [json!({}), json!(null), json!({"drops": 1, "ports": [7], "total": []})] {
                let _ = show(&odd);
            }
        }
    }

    #[test]
    fn truncated_routes_and_refused_requests_are_told() {
        let answer = json!({"routes": [], "truncated": true, "routes4": 5, "routes6": 6});
        assert!(routes(&answer).contains("5 IPv4, 6 IPv6"));
        assert!(neighbours(&json!({"refused": 2})).contains("2 requests were refused"));
    }
}
