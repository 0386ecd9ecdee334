//! The updates of one batch, and their records in the journal.

use std::time::Instant;

use futures_util::TryStreamExt;
use mongodb::{
    ClientSession,
    bson::{self, Bson, Document, doc},
    error::{Error, Result as MongoResult},
};

use super::{
    Assign,
    batch::{id_of, is_same},
    run::{FillRun, Stale},
};
use crate::{
    state::journal::{self, Change, Record, Replaced},
    transaction::{self, UpdateResult},
};

/// The changes of a batch for the journal, each with its number of documents.
type Changes = Vec<(i64, Change)>;

/// The statements of a command, and the number of documents that they change.
type Command = (usize, Vec<Document>);

impl FillRun<'_> {
    /// Changes documents in the transaction of the session. Returns the records for the journal.
    pub(super) async fn change(
        &mut self,
        documents: &[Document],
        session: &mut ClientSession,
    ) -> MongoResult<(UpdateResult, Vec<Record>)> {
        if documents.is_empty() {
            return Ok((UpdateResult::default(), Vec::new()));
        }
        let size = self.pacer.command_size();
        let (commands, changes) = match &self.fill.assign {
            Assign::Values(values) => {
                let set = Bson::from(doc! { "$set": values });
                self.uniform(documents, &journal::literals(values)?, &set, size)
            }
            Assign::Expressions(expressions) => {
                let set = Bson::from(vec![doc! { "$set": expressions }]);
                self.uniform(documents, expressions, &set, size)
            }
            Assign::Each(each) => {
                let assigned = each.assign(documents.to_vec(), session).await?;
                self.one_by_one(documents, assigned, size)?
            }
        };
        let updated = self.update(commands, session).await?;
        let changes = match &self.fill.assign {
            Assign::Expressions(_) => self.evaluated(documents, session).await?,
            Assign::Values(_) | Assign::Each(_) => changes,
        };
        let record = |(count, change)| {
            let step = self.fill.key.to_string();
            Record::new(&self.context.claim, step, self.fill.collection, count, change)
        };
        Ok((updated, changes.into_iter().map(record).collect()))
    }

    /// Runs commands with pauses between them. Fails with [`Stale`] if one of them does not match
    /// all of its documents.
    async fn update(
        &mut self,
        commands: Vec<Command>,
        session: &mut ClientSession,
    ) -> MongoResult<UpdateResult> {
        let (database, collection) = (&self.context.database, self.fill.collection);
        let (mut updated, mut last) = (UpdateResult::default(), None);
        for (documents, statements) in commands {
            if let Some(taken) = last {
                self.pacer.pause_between_commands(taken, &self.context.stop).await;
            }
            let began = Instant::now();
            let one = transaction::update(database, collection, statements, session).await?;
            if one.matched != journal::count(documents)? {
                return Err(Error::custom(Stale));
            }
            updated += one;
            let taken = began.elapsed();
            self.pacer.observe_command(documents, taken);
            last = Some(taken);
        }
        Ok(updated)
    }

    /// Returns the commands for the same update of all documents: one statement a command for the
    /// documents without any of the fields, which are nearly all, and one for each of the others.
    /// Each statement repeats the earlier values, so that either the journal is right or the batch
    /// is stale.
    fn uniform(
        &self,
        documents: &[Document],
        written: &Document,
        update: &Bson,
        size: usize,
    ) -> (Vec<Command>, Changes) {
        let filter = &self.fill.filter;
        let (mut ids, mut statements, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        for document in documents {
            let id = id_of(document).clone();
            if document.len() == 1 {
                ids.push(id);
                continue;
            }
            let mut before = document.clone();
            before.remove("_id");
            let unchanged = has_values(&before, written);
            let q = doc! { "$and": [{ "_id": id.clone() }, filter.clone(), unchanged] };
            statements.push(doc! { "q": q, "u": update });
            replaced.push(Replaced { id, before, written: written.clone() });
        }
        let missing = has_values(&Document::new(), written);
        let together = |ids: &[Bson]| {
            let q = doc! { "$and": [{ "_id": { "$in": ids } }, filter.clone(), missing.clone()] };
            (ids.len(), vec![doc! { "q": q, "u": update, "multi": true }])
        };
        let mut commands: Vec<_> = ids.chunks(size).map(together).collect();
        commands.extend(in_commands(statements, size));
        let mut changes = Vec::new();
        if !ids.is_empty() {
            let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
            changes.push((count, Change::Added { ids, written: written.clone() }));
        }
        changes.extend(change_of(replaced));
        (commands, changes)
    }

    /// Returns the changes with the results of the expressions, in the transaction of the session:
    /// an expression may read a field that it writes, and may have another result later.
    async fn evaluated(
        &self,
        documents: &[Document],
        session: &mut ClientSession,
    ) -> MongoResult<Changes> {
        let ids: Vec<_> = documents.iter().map(id_of).collect();
        let collection = self.collection.clone_with_type::<Document>();
        let found = collection.find(doc! { "_id": { "$in": ids } }).sort(doc! { "_id": 1 });
        let mut found = found.projection(self.fill.projection()).session(&mut *session).await?;
        let after: Vec<Document> = found.stream(session).try_collect().await?;
        // Both are in the order of the ids.
        let replaced = documents.iter().zip(after).map(|(before, mut after)| {
            let mut before = before.clone();
            let id = before.remove("_id").unwrap_or(Bson::Null);
            let written = self.fill.writes().into_iter().map(|field| {
                let value = after.remove(field).map(|value| doc! { "$literal": value }.into());
                (field.to_owned(), value.unwrap_or_else(|| Bson::from("$$REMOVE")))
            });
            Replaced { id, before, written: written.collect() }
        });
        Ok(change_of(replaced.collect()).into_iter().collect())
    }

    /// Returns the commands with a statement for each document.
    fn one_by_one(
        &self,
        documents: &[Document],
        assigned: Vec<(Bson, Document)>,
        size: usize,
    ) -> MongoResult<(Vec<Command>, Changes)> {
        let mut statements = Vec::with_capacity(assigned.len());
        let mut replaced = Vec::with_capacity(assigned.len());
        // The earlier values of other fields were not read.
        let declared = self.fill.writes();
        for (id, values) in assigned {
            let document = documents.iter().find(|document| is_same(id_of(document), &id));
            let Some(mut before) = document.cloned() else {
                return Err(undeclared(format_args!(
                    "the document {id}, which was not given to it"
                )));
            };
            if let Some(field) = values.keys().find(|field| !declared.contains(&field.as_str())) {
                return Err(undeclared(format_args!("`{field}`, which is not among its `writes`")));
            }
            before = values
                .keys()
                .filter_map(|field| Some((field.clone(), before.remove(field)?)))
                .collect();
            let written = journal::literals(&values)?;
            let q = doc! { "$and": [{ "_id": id.clone() }, self.fill.filter.clone()] };
            statements.push(doc! { "q": q, "u": [{ "$set": written.clone() }] });
            replaced.push(Replaced { id, before, written });
        }
        let changes = change_of(replaced).into_iter().collect();
        Ok((in_commands(statements, size).collect(), changes))
    }
}

/// Returns the change of documents that were set one by one, with their number, if there are any.
fn change_of(replaced: Vec<Replaced>) -> Option<(i64, Change)> {
    let count = i64::try_from(replaced.len()).unwrap_or(i64::MAX);
    (count > 0).then_some((count, Change::Set(replaced)))
}

/// Returns commands of `size` statements, each of which changes one document.
fn in_commands(statements: Vec<Document>, size: usize) -> impl Iterator<Item = Command> {
    let mut left = statements.into_iter();
    std::iter::from_fn(move || {
        let command: Vec<_> = left.by_ref().take(size).collect();
        (!command.is_empty()).then_some((command.len(), command))
    })
}

/// Returns the error of an [`EachDocument`](super::EachDocument) that breaks its contract.
fn undeclared(what: std::fmt::Arguments<'_>) -> Error {
    let message = format_args!("the migration assigns {what}");
    <bson::error::Error as serde::ser::Error>::custom(message).into()
}

/// Returns a filter for documents in which the fields to be written have these values or are
/// missing.
fn has_values(before: &Document, written: &Document) -> Document {
    let same = written.keys().map(|field| match before.get(field) {
        None => doc! { field: { "$exists": false } },
        Some(value) => {
            let value = doc! { "$literal": value.clone() };
            doc! { "$expr": { "$eq": [format!("${field}"), value] } }
        }
    });
    doc! { "$and": same.collect::<Vec<_>>() }
}
