//! The changes of one batch, and what the journal keeps of them.

use std::time::Instant;

use futures_util::TryStreamExt;
use mongodb::{
    ClientSession,
    bson::{self, Bson, Document, doc, oid::ObjectId},
    error::Error,
};

use super::{
    FillRun, Stale,
    page::{id_of, is_same},
};
use crate::{
    Assign,
    journal::{self, Change, Record, Replaced},
    transaction::{self, Changed},
};

/// What a batch changed, for the journal, and how many documents each is about.
type Changes = Vec<(i64, Change)>;

/// The statements of a command, and how many documents they change.
type Command = (usize, Vec<Document>);

impl FillRun {
    /// Changes documents in the session's transaction: how many, and what goes to the journal.
    pub(super) async fn change(
        &self,
        documents: &[Document],
        session: &mut ClientSession,
    ) -> mongodb::error::Result<(Changed, Vec<Record>)> {
        if documents.is_empty() {
            return Ok((Changed { matched: 0, modified: 0 }, Vec::new()));
        }
        let size = self.rests.size();
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
            Assign::Update(update) => {
                let u = match update {
                    mongodb::options::UpdateModifications::Document(update) => update.into(),
                    mongodb::options::UpdateModifications::Pipeline(stages) => {
                        Bson::from(stages.clone())
                    }
                    _ => return Err(Error::custom("an unknown form of update")),
                };
                let command = |documents: &[Document]| {
                    let ids: Vec<_> = documents.iter().map(id_of).collect();
                    let q = doc! { "$and": [{ "_id": { "$in": ids } }, self.fill.filter.clone()] };
                    (documents.len(), vec![doc! { "q": q, "u": u.clone(), "multi": true }])
                };
                let commands = documents.chunks(size).map(command).collect();
                (commands, vec![(journal::count(documents.len())?, Change::Unknown)])
            }
        };
        let collection = self.fill.collection;
        let (mut changed, mut last) = (Changed { matched: 0, modified: 0 }, None);
        for (documents, statements) in commands {
            if let Some(taken) = last {
                self.rests.rest(taken, &self.stop).await;
            }
            let began = Instant::now();
            let one = transaction::update(&self.database, collection, statements, session).await?;
            if one.matched != journal::count(documents)? {
                return Err(Error::custom(Stale));
            }
            changed += one;
            let taken = began.elapsed();
            self.rests.learn(documents, taken);
            last = Some(taken);
        }
        let changes = match &self.fill.assign {
            Assign::Expressions(_) => self.evaluated(documents, session).await?,
            _ => changes,
        };
        let record = |(count, change)| Record {
            id: ObjectId::new(),
            migration: self.migration.to_owned(),
            step: self.fill.what.clone(),
            fence: self.fence,
            collection: collection.to_owned(),
            count,
            change,
        };
        Ok((changed, changes.into_iter().map(record).collect()))
    }

    /// The same expressions for all documents: one statement a command for those that had none of
    /// the fields, which are nearly all, and one for each of the others. A statement says again what
    /// was there, so that the journal is right or the batch is stale.
    fn uniform(
        &self,
        documents: &[Document],
        written: &Document,
        update: &Bson,
        size: usize,
    ) -> (Vec<Command>, Changes) {
        let (mut ids, mut statements, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        for document in documents {
            let id = id_of(document).clone();
            if document.len() == 1 {
                ids.push(id);
                continue;
            }
            let mut before = document.clone();
            before.remove("_id");
            let q = doc! { "$and": [{ "_id": id.clone() }, self.fill.filter.clone(), was(&before, written)] };
            statements.push(doc! { "q": q, "u": update });
            replaced.push(Replaced { id, before, written: written.clone() });
        }
        let missing = was(&Document::new(), written);
        let together = |ids: &[Bson]| {
            let (filter, missing) = (self.fill.filter.clone(), missing.clone());
            let q = doc! { "$and": [{ "_id": { "$in": ids } }, filter, missing] };
            (ids.len(), vec![doc! { "q": q, "u": update, "multi": true }])
        };
        let mut commands: Vec<_> = ids.chunks(size).map(together).collect();
        commands.extend(each_in_commands(statements, size));
        let mut changes = Vec::new();
        if !ids.is_empty() {
            let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
            changes.push((count, Change::Added { ids, written: written.clone() }));
        }
        if !replaced.is_empty() {
            let count = i64::try_from(replaced.len()).unwrap_or(i64::MAX);
            changes.push((count, Change::Set(replaced)));
        }
        (commands, changes)
    }

    /// What expressions came to, as the session's transaction sees it. They may read what they
    /// write, and later they may come to something else.
    async fn evaluated(
        &self,
        documents: &[Document],
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Changes> {
        let ids: Vec<_> = documents.iter().map(id_of).collect();
        let collection = self.collection();
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
        Ok(vec![(journal::count(documents.len())?, Change::Set(replaced.collect()))])
    }

    /// A statement for each document.
    fn one_by_one(
        &self,
        documents: &[Document],
        assigned: Vec<(Bson, Document)>,
        size: usize,
    ) -> mongodb::error::Result<(Vec<Command>, Changes)> {
        let mut statements = Vec::with_capacity(assigned.len());
        let mut replaced = Vec::with_capacity(assigned.len());
        // Of others nobody has looked what they were before.
        let declared = self.fill.writes();
        for (id, values) in assigned {
            let document = documents.iter().find(|document| is_same(id_of(document), &id));
            let Some(mut before) = document.cloned() else {
                return Err(undeclared(format_args!("the document {id}, which was not asked for")));
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
        let count = journal::count(replaced.len())?;
        let changes = if count > 0 { vec![(count, Change::Set(replaced))] } else { Vec::new() };
        Ok((each_in_commands(statements, size).collect(), changes))
    }
}

/// Commands of so many statements, each of which changes one document.
fn each_in_commands(statements: Vec<Document>, size: usize) -> impl Iterator<Item = Command> {
    let mut left = statements.into_iter();
    std::iter::from_fn(move || {
        let command: Vec<_> = left.by_ref().take(size).collect();
        (!command.is_empty()).then_some((command.len(), command))
    })
}

/// An [`EachDocument`](crate::EachDocument) that does not do what it says.
fn undeclared(what: std::fmt::Arguments<'_>) -> Error {
    let message = format_args!("the migration assigns {what}");
    <bson::error::Error as serde::ser::Error>::custom(message).into()
}

/// Holds where the fields to be written have just these values, or are missing.
fn was(before: &Document, written: &Document) -> Document {
    let same = written.keys().map(|field| match before.get(field) {
        None => doc! { field: { "$exists": false } },
        Some(value) => {
            let value = doc! { "$literal": value.clone() };
            doc! { "$expr": { "$eq": [format!("${field}"), value] } }
        }
    });
    doc! { "$and": same.collect::<Vec<_>>() }
}
