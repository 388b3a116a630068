//! The office: files, a mailbox and a bank account in memory, and what each tool does with them.
//!
//! It obeys whoever calls. That is the point: a tool server does not know the task, so what may be called is decided before it.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Number, Value, json};
use warrantor_model::{Decimal, decimal};

use super::seed::{FILES, MAILS, Mail, PAYEES, Transaction, transactions};

/// The state of the example world.
#[derive(Debug)]
pub(crate) struct Office {
    files: BTreeMap<String, String>,
    transactions: Vec<Transaction>,
    /// Mails sent, for their numbers.
    sent: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    directory: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    path: String,
    content: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outgoing {
    to: Vec<String>,
    #[serde(rename = "subject")]
    _subject: String,
    #[serde(rename = "body")]
    _body: String,
    #[serde(default)]
    attachments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    recipient: String,
    amount: Number,
    currency: String,
    reference: String,
}

impl Office {
    /// The world as it begins.
    pub(crate) fn seeded() -> Self {
        let files = FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { files, transactions: transactions(), sent: 0 }
    }

    /// Performs a tool. `None` when there is no such tool; an error is what the tool says for itself.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Option<Result<Value, String>> {
        Some(match tool {
            "list_files" => read(arguments).map(|from: Directory| self.list_files(&from)),
            "read_file" => read(arguments).and_then(|file: File| self.read_file(&file.path)),
            "write_file" => read(arguments).and_then(|file: Contents| self.write_file(file)),
            "search_mail" => read(arguments).map(|search: Search| search_mail(&search.query)),
            "read_mail" => read(arguments).and_then(|mail: Named| read_mail(&mail.id)),
            "send_mail" => read(arguments).and_then(|mail: Outgoing| self.send_mail(&mail)),
            "list_payees" => read(arguments).map(|_: Nothing| json!({ "payees": PAYEES })),
            "list_transactions" => {
                read(arguments).map(|_: Nothing| json!({ "transactions": self.transactions }))
            }
            "send_money" => read(arguments).and_then(|payment: Payment| self.send_money(payment)),
            _ => return None,
        })
    }

    fn list_files(&self, from: &Directory) -> Value {
        let above = from.directory.as_deref().unwrap_or("/").trim_end_matches('/');
        let below = |path: &&String| path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
        let files: Vec<&String> = self.files.keys().filter(below).collect();
        json!({ "files": files })
    }

    fn read_file(&self, path: &str) -> Result<Value, String> {
        match self.files.get(path) {
            Some(content) => Ok(json!({ "path": path, "content": content })),
            None => Err(format!("there is no file {path}")),
        }
    }

    fn write_file(&mut self, file: Contents) -> Result<Value, String> {
        if !file.path.starts_with('/') {
            return Err(format!("{} is not an absolute path", file.path));
        }
        let answer = json!({ "path": file.path, "bytes": file.content.len() });
        self.files.insert(file.path, file.content);
        Ok(answer)
    }

    fn send_mail(&mut self, mail: &Outgoing) -> Result<Value, String> {
        if mail.to.is_empty() {
            return Err("a mail needs somebody to go to".to_owned());
        }
        if let Some(missing) = mail.attachments.iter().find(|path| !self.files.contains_key(*path)) {
            return Err(format!("there is no file {missing}"));
        }
        self.sent = self.sent.saturating_add(1);
        Ok(json!({ "id": format!("s-{}", self.sent), "to": mail.to, "attachments": mail.attachments }))
    }

    fn send_money(&mut self, payment: Payment) -> Result<Value, String> {
        match decimal::exact(&payment.amount.to_string()) {
            Some(amount) if amount > Decimal::ZERO => {}
            _ => return Err(format!("{} is no amount that can be sent", payment.amount)),
        }
        let transaction = Transaction {
            id: format!("t-{}", self.transactions.len().saturating_add(1)),
            recipient: payment.recipient,
            amount: payment.amount,
            currency: payment.currency,
            reference: payment.reference,
        };
        let answer = json!({ "sent": transaction });
        self.transactions.push(transaction);
        Ok(answer)
    }
}

fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|cause| format!("the arguments cannot be read: {cause}"))
}

fn search_mail(query: &str) -> Value {
    let query = query.to_lowercase();
    let fits = |mail: &&Mail| {
        [mail.from, mail.subject, mail.body].iter().any(|text| text.to_lowercase().contains(&query))
    };
    let found: Vec<Value> = MAILS
        .iter()
        .filter(fits)
        .map(|mail| json!({ "id": mail.id, "from": mail.from, "subject": mail.subject }))
        .collect();
    json!({ "mails": found })
}

fn read_mail(id: &str) -> Result<Value, String> {
    match MAILS.iter().find(|mail| mail.id == id) {
        Some(mail) => Ok(json!({ "mail": mail })),
        None => Err(format!("there is no mail {id}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(office: &mut Office, tool: &str, arguments: Value) -> Value {
        office.call(tool, arguments).expect("the tool is there").expect("the tool succeeds")
    }

    #[test]
    fn a_payment_stands_among_the_transactions_as_it_was_written() {
        let mut office = Office::seeded();
        let amount: Value = serde_json::from_str("1180.10").unwrap();
        let payment = json!({ "recipient": "X", "amount": amount, "currency": "EUR", "reference": "r" });
        done(&mut office, "send_money", payment);
        let listed = done(&mut office, "list_transactions", json!({}));
        assert_eq!(
            listed["transactions"][1],
            json!({ "id": "t-2", "recipient": "X", "amount": amount, "currency": "EUR", "reference": "r" })
        );
    }

    #[test]
    fn files_are_listed_below_a_directory_and_not_beside_it() {
        let mut office = Office::seeded();
        done(&mut office, "write_file", json!({ "path": "/invoices/brightwell2/x", "content": "" }));
        for (directory, count) in
            [("/invoices/brightwell", 2), ("/invoices/brightwell/", 2), ("/", 5), ("/x", 0)]
        {
            let listed = done(&mut office, "list_files", json!({ "directory": directory }));
            assert_eq!(listed["files"].as_array().map(Vec::len), Some(count), "{directory}");
        }
    }

    #[test]
    fn a_written_file_reads_back_and_can_be_attached() {
        let mut office = Office::seeded();
        done(&mut office, "write_file", json!({ "path": "/a.txt", "content": "one" }));
        assert_eq!(done(&mut office, "read_file", json!({ "path": "/a.txt" }))["content"], "one");
        let mail = json!({ "to": ["a@b.example"], "subject": "s", "body": "b", "attachments": ["/a.txt"] });
        assert_eq!(done(&mut office, "send_mail", mail)["id"], "s-1");
    }

    #[test]
    fn the_reminder_is_found_with_the_invoice() {
        let found = done(&mut Office::seeded(), "search_mail", json!({ "query": "bw-1043" }));
        let ids: Vec<_> = found["mails"].as_array().unwrap().iter().map(|mail| mail["id"].clone()).collect();
        assert_eq!(ids, ["m-1", "m-2"]);
    }

    #[test]
    fn what_cannot_be_done_is_said_and_changes_nothing() {
        let mut office = Office::seeded();
        for (tool, arguments, said) in [
            ("read_file", json!({ "path": "/none" }), "no file /none"),
            ("write_file", json!({ "path": "a", "content": "" }), "not an absolute path"),
            ("read_mail", json!({ "id": "m-9" }), "no mail m-9"),
            ("send_mail", json!({ "to": [], "subject": "", "body": "" }), "somebody"),
            (
                "send_mail",
                json!({ "to": ["a"], "subject": "", "body": "", "attachments": ["/x"] }),
                "no file /x",
            ),
            (
                "send_money",
                json!({ "recipient": "X", "amount": 0, "currency": "EUR", "reference": "" }),
                "no amount",
            ),
            ("send_money", json!({ "recipient": "X" }), "cannot be read"),
            ("list_payees", json!({ "x": 1 }), "cannot be read"),
        ] {
            let error = office.call(tool, arguments).expect("the tool is there").expect_err(tool);
            assert!(error.contains(said), "{tool}: {error}");
        }
        assert_eq!(office.transactions, transactions());
        assert_eq!(office.sent, 0);
        assert!(office.call("erase", json!({})).is_none());
    }
}
