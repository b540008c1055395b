//! The answers of the admin socket as people read them.

use serde_json::Value;

use crate::output::{Align, Table};

/// An earlier answer to the same question, for rates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since<'a> {
    pub(super) before: &'a Value,
    pub(super) seconds: f64,
}

impl Since<'_> {
    /// How much more a second the figure at this place has become.
    fn rate(self, now: &Value, before: &Value, pointer: &str) -> String {
        let figure = |value: &Value| value.pointer(pointer).and_then(Value::as_u64);
        match (figure(now), figure(before)) {
            // A figure never falls, but for `held`, which has no rate.
            #[expect(clippy::cast_precision_loss, reason = "rates of 2^52 a second are far")]
            (Some(now), Some(before)) if self.seconds > 0.0 => {
                format!("{:.0}", now.saturating_sub(before) as f64 / self.seconds)
            }
            _ => "-".into(),
        }
    }

    /// The row of an earlier list that has the same name.
    fn row(&self, list: &str, key: &str, row: &Value) -> Value {
        let rows = rows(self.before, list).iter();
        rows.clone().find(|other| other.get(key) == row.get(key)).cloned().unwrap_or_default()
    }
}

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
            ("routes to the door", "/door/routes/0"),
            ("door to kernel", "/door/to_kernel"),
            ("door from kernel", "/door/from_kernel"),
            ("data plane deaths", "/dataplane_deaths"),
            ("control deaths", "/control_deaths"),
            ("configuration", "/config"),
            ("loaded at (unix)", "/configuration/loaded_at"),
            ("sha256", "/configuration/sha256"),
            ("generation", "/generation"),
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
    text + &alarms(answer)
}

/// `show alarms`, also the end of `show status`
pub(super) fn alarms(answer: &Value) -> String {
    let alarms = rows(answer, "alarms");
    if alarms.is_empty() {
        return "no alarms\n".to_owned();
    }
    alarms.iter().map(|alarm| format!("alarm: {}\n", sentence(alarm))).collect()
}

/// `show memory`
pub(super) fn memory(answer: &Value) -> String {
    let tables = plain(
        answer,
        &[
            ("tables", "/tables/used_bytes"),
            ("room in their segments", "/tables/capacity_bytes"),
            ("segments", "/tables/segments"),
            ("adjacencies", "/tables/adjacencies"),
            ("records to be freed", "/tables/waiting"),
            ("frames of the workers", "/frames_bytes"),
        ],
    );
    let columns = [
        left("process", "/process"),
        right("pid", "/pid"),
        right("resident bytes", "/resident_bytes"),
        right("of these shared", "/shared_bytes"),
    ];
    format!("{tables}\n{}", list(rows(answer, "processes"), &columns))
}

/// `show ports`
pub(super) fn ports(answer: &Value) -> String {
    let ports = rows(answer, "ports");
    let mut text = list(
        ports,
        &[
            left("port", "/name"),
            left("state", "/state"),
            left("interface", "/interface"),
            left("driver", "/driver"),
            left("mode", "/mode"),
            right("queues", "/queues"),
            right("MTU", "/mtu"),
            left("MAC", "/mac"),
            right("to us", "/xdp/redirected"),
            right("to the kernel", "/xdp/passed"),
            right("no socket", "/xdp/no_socket"),
        ],
    );
    for port in ports {
        if port.get("no_zero_copy") == Some(&Value::Bool(true)) {
            let name = cell(port.get("device"));
            text.push_str(&format!("all ports run in copy mode: the driver of {name} has no zero-copy\n"));
        }
        for offload in rows(port, "offloads") {
            let part = |key| cell(offload.get(key));
            text.push_str(&format!(
                "{}: {} is on: {}; `{}`\n",
                cell(port.get("name")),
                part("name"),
                part("harm"),
                part("mend")
            ));
        }
    }
    text
}

/// `show workers`
pub(super) fn workers(answer: &Value) -> String {
    let queues = |worker: &Value| {
        let queue = |queue: &Value| format!("{}:{}", cell(queue.get("device")), cell(queue.get("queue")));
        rows(worker, "queues").iter().map(queue).collect::<Vec<_>>().join(" ")
    };
    let workers: Vec<Value> = rows(answer, "workers")
        .iter()
        .map(|worker| {
            let mut row = worker.clone();
            row["queues"] = Value::String(queues(worker));
            row
        })
        .collect();
    list(
        &workers,
        &[
            left("worker", "/worker"),
            right("core", "/core"),
            left("state", "/state"),
            left("idle", "/idle"),
            left("queues", "/queues"),
            right("received", "/received"),
            right("transmitted", "/transmitted"),
            right("turns", "/turns"),
            right("silent ms", "/heartbeat_age_ms"),
        ],
    )
}

/// The counters of the identity in its order: what comes in, then what becomes of it.
const IDENTITY: [&str; 9] =
    ["received", "injected", "generated", "transmitted", "local", "punted", "dropped", "consumed", "held"];

/// `show counters`: a line for each counter, a column for each worker.
pub(super) fn counters(answer: &Value, since: Option<Since<'_>>) -> String {
    let workers = rows(answer, "workers");
    let headings: Vec<String> =
        workers.iter().map(|worker| format!("worker {}", cell(worker.get("worker")))).collect();
    let mut columns = vec![("packets", Align::Left), ("all", Align::Right)];
    columns.extend(since.map(|_| ("a second", Align::Right)));
    columns.extend(headings.iter().map(|heading| (heading.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    let total = answer.get("total").and_then(Value::as_object);
    let mut names: Vec<&str> = total.into_iter().flat_map(|total| total.keys()).map(String::as_str).collect();
    names.sort_by_key(|name| IDENTITY.iter().position(|known| known == name).unwrap_or(IDENTITY.len()));
    for name in names {
        let mut line = vec![name.replace('_', " "), cell(total.and_then(|total| total.get(name)))];
        line.extend(since.map(|since| since.rate(answer, since.before, &format!("/total/{name}"))));
        line.extend(workers.iter().map(|worker| cell(worker.get(name))));
        table.row(line);
    }
    let identity = match answer.pointer("/total/unaccounted").and_then(Value::as_i64) {
        Some(0) => "the sums agree: every packet ended in one verdict\n".to_owned(),
        Some(packets) => format!("{packets} packets are under way\n"),
        None => String::new(),
    };
    format!("{}{identity}\n{}", table.render(), port_counters(answer, since))
}

/// The table of ports.
fn port_counters(answer: &Value, since: Option<Since<'_>>) -> String {
    let mut ports = rows(answer, "ports").to_vec();
    let mut columns = vec![left("port", "/name"), right("rx packets", "/rx_packets")];
    if let Some(since) = since {
        for port in &mut ports {
            let before = since.row("ports", "name", port);
            for (rate, figure) in [("rx_rate", "/rx_packets"), ("tx_rate", "/tx_packets")] {
                let value = since.rate(port, &before, figure);
                if let Some(port) = port.as_object_mut() {
                    port.insert(rate.into(), value.into());
                }
            }
        }
        columns.extend([right("a second", "/rx_rate")]);
    }
    columns.extend([right("rx bytes", "/rx_bytes"), right("tx packets", "/tx_packets")]);
    columns.extend(since.map(|_| right("a second", "/tx_rate")));
    columns.extend([
        right("tx bytes", "/tx_bytes"),
        right("seen by XDP", "/xdp/seen"),
        right("to us", "/xdp/redirected"),
        right("to the kernel", "/xdp/passed"),
        right("no socket", "/xdp/no_socket"),
        right("rx ring full", "/sockets/rx_ring_full"),
        right("rx dropped", "/sockets/rx_dropped"),
    ]);
    list(&ports, &columns)
}

/// `show drops`: the reasons that occurred, the most frequent first.
pub(super) fn drops(answer: &Value, since: Option<Since<'_>>) -> String {
    let count = |row: &Value| row.get("packets").and_then(Value::as_u64).unwrap_or(0);
    let mut occurred: Vec<Value> =
        rows(answer, "drops").iter().filter(|row| count(row) > 0).cloned().collect();
    if occurred.is_empty() {
        return "no packet was dropped\n".into();
    }
    occurred.sort_by_key(|row| std::cmp::Reverse(count(row)));
    let mut columns = vec![right("packets", "/packets")];
    if let Some(since) = since {
        for row in &mut occurred {
            let rate = since.rate(row, &since.row("drops", "reason", row), "/packets");
            if let Some(row) = row.as_object_mut() {
                row.insert("rate".into(), rate.into());
            }
        }
        columns.push(right("a second", "/rate"));
    }
    columns.extend([left("reason", "/reason"), left("clause", "/clause"), left("", "/text")]);
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
        let text = drops(&answer, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("12  too_big   RFC 4443 §3.2  It is."), "{text}");
        assert_eq!(drops(&json!({"drops": []}), None), "no packet was dropped\n");
    }

    #[test]
    fn counters_have_a_column_for_each_worker() {
        let answer = json!({
            "total": {"received": 7, "unaccounted": 0},
            "workers": [{"worker": 0, "received": 3}, {"worker": 1, "received": 4}],
            "ports": [{"name": "wan4", "rx_packets": 7, "xdp": {"seen": 9}}],
        });
        let text = counters(&answer, None);
        assert!(text.starts_with("packets      all  worker 0  worker 1\n"), "{text}");
        assert!(text.contains("received       7         3         4"), "{text}");
        assert!(text.contains("the sums agree"), "{text}");
    }

    #[test]
    fn rates_are_differences_by_time() {
        let then = json!({"total": {"received": 100, "unaccounted": 0}, "ports": [{"name": "wan4", "rx_packets": 7}],
            "drops": [{"reason": "no_route", "packets": 1}]});
        let now = json!({"total": {"received": 1100, "unaccounted": 0}, "ports": [{"name": "wan4", "rx_packets": 27}],
            "drops": [{"reason": "no_route", "packets": 5}, {"reason": "too_big", "packets": 3}]});
        let since = Some(Since { before: &then, seconds: 2.0 });
        let text = counters(&now, since);
        assert!(text.contains("received     1100       500"), "{text}");
        assert!(text.contains("wan4          27        10"), "{text}");
        let text = drops(&now, since);
        assert!(text.contains("      5         2  no_route"), "{text}");
        assert!(text.contains("      3         -  too_big"), "nothing is known of before: {text}");
    }

    #[test]
    fn nothing_that_is_missing_is_a_panic() {
        for odd in [json!({}), json!(null), json!({"drops": 1, "ports": [7], "total": []})] {
            for show in [status, routes, neighbours, memory, alarms] {
                let _ = show(&odd);
            }
            let since = Since { before: &odd, seconds: 0.0 };
            let _ = (counters(&odd, Some(since)), drops(&odd, Some(since)));
        }
    }

    #[test]
    fn truncated_routes_and_refused_requests_are_told() {
        let answer = json!({"routes": [], "truncated": true, "routes4": 5, "routes6": 6});
        assert!(routes(&answer).contains("5 IPv4, 6 IPv6"));
        assert!(neighbours(&json!({"refused": 2})).contains("2 requests were refused"));
    }
}
