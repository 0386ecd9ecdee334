//! A site from before there were sections, with everything that is odd about such sites.

use crate::support::Folder;

/// The folder that [`write`] fills.
pub(crate) const FOLDER: &str = "site";

pub(crate) const STORIES: &str = r#"
{"_id":{"$oid":"61000000000000000000000a"},"title":"First light","content":"<p>Only a date.</p>","date":{"$date":"2021-10-03T18:20:00Z"}}
{"_id":"letter","title":"A letter","content":"<p>Its id is text, and so is a date.</p>","slug":"a-letter","is_published":true,"date":{"$date":"2022-02-11T18:40:00Z"},"createdDate":"2022-02-11T19:40:00+01:00","updatedDate":{"$date":"2022-02-11T18:40:00Z"}}

{"_id":{"$oid":"61000000000000000000000c"},"title":"Nowhere","content":"<p>Its editor chose no section.</p>","slug":"nowhere","is_published":true,"createdDate":{"$date":"2022-03-01T00:00:00Z"},"updatedDate":{"$date":"2022-03-01T00:00:00Z"},"section_id":null}
{"_id":{"$oid":"61000000000000000000000d"},"title":"Lost","content":"<p>Its section is gone.</p>","slug":"lost","is_published":true,"createdDate":{"$date":"2022-04-01T00:00:00Z"},"updatedDate":{"$date":"2022-04-01T00:00:00Z"},"section_id":"ffffffffffffffffffffffff"}
{"_id":{"$oid":"61000000000000000000000e"},"title":"Rules","content":"<p>Deleted.</p>","slug":"rules","is_published":true,"createdDate":{"$date":"2022-05-01T00:00:00Z"},"updatedDate":{"$date":"2022-05-01T00:00:00Z"},"deleted":true}
{"_id":{"$oid":"61000000000000000000000f"},"title":"Rules","content":"<p>The twin that lives.</p>","slug":"rules","is_published":true,"createdDate":{"$date":"2022-05-02T00:00:00Z"},"updatedDate":{"$date":"2022-05-02T00:00:00Z"}}
{"_id":{"$oid":"610000000000000000000010"},"title":"Unfinished","content":"<p>A draft.</p>","slug":"unfinished","is_published":false,"createdDate":{"$date":"2022-06-01T00:00:00Z"},"updatedDate":{"$date":"2022-06-01T00:00:00Z"}}
{"_id":{"$oid":"610000000000000000000011"},"title":"First light","content":"<p>The same title again.</p>","is_published":true,"createdDate":{"$date":"2022-07-01T00:00:00Z"},"updatedDate":{"$date":"2022-07-01T00:00:00Z"}}
{"_id":{"$oid":"610000000000000000000012"},"title":"An account of a hinge, begun in fair weather, continued in foul, twice abandoned, taken up again against advice, lost for a winter, found behind the oil store, and concluded at last with a hinge from a kitchen cupboard, which holds to this day","content":"<p>Nobody models its fields.</p>","slug":"hinge","is_published":true,"createdDate":{"$date":"2022-08-01T00:00:00.123Z"},"updatedDate":{"$date":"2022-08-01T00:00:00Z"},"user_id":"6158913c04f8996da763b7a9","weather":{"wind":{"from":"SW","force":4},"remarks":null},"tags":["a",{"old_id":17}],"views":{"$numberLong":"9007199254740993"},"score":{"$numberDecimal":"1.10"}}
"#;

pub(crate) const PROJECTS: &str = r#"{"_id":{"$oid":"62000000000000000000000a"},"title":"Folded tides","slug":"folded-tides","content":"<p>Says nothing about being published.</p>","technologies":["Rust"],"createdDate":{"$date":"2022-05-01T10:00:00Z"},"updatedDate":{"$date":"2022-05-01T10:00:00Z"}}
{"_id":{"$oid":"62000000000000000000000b"},"title":"Signal flags","slug":"signal-flags","content":"<p>Deleted.</p>","createdDate":{"$date":"2022-05-02T10:00:00Z"},"updatedDate":{"$date":"2022-05-02T10:00:00Z"},"deleted":true}
{"_id":{"$oid":"62000000000000000000000c"},"title":"Fog diary","content":"<p>Has no slug.</p>","createdDate":{"$date":"2022-05-03T10:00:00Z"},"updatedDate":{"$date":"2022-05-03T10:00:00Z"}}
"#;

pub(crate) const PAGES: &str = r#"{"_id":{"$oid":"63000000000000000000000a"},"title":"About","content":"<p>I mend lamps.</p>","page_type":"about","is_published":true,"createdDate":{"$date":"2021-10-02T17:30:00Z"},"updatedDate":{"$date":"2021-10-02T17:30:00Z"}}
{"_id":{"$oid":"63000000000000000000000b"},"title":"About, 2021","content":"<p>Soon.</p>","page_type":"about","is_published":false,"createdDate":{"$date":"2021-10-01T17:30:00Z"},"updatedDate":{"$date":"2021-10-01T17:30:00Z"}}
{"_id":{"$oid":"63000000000000000000000c"},"title":"Contact","content":"<p>By post.</p>","page_type":"contact","is_published":true,"createdDate":{"$date":"2021-10-02T17:40:00Z"},"updatedDate":{"$date":"2021-10-02T17:40:00Z"}}
{"_id":{"$oid":"63000000000000000000000d"},"title":"Imprint","content":"<p>Of a type that no section is for.</p>","page_type":"imprint","is_published":true,"createdDate":{"$date":"2021-10-02T17:50:00Z"},"updatedDate":{"$date":"2021-10-02T17:50:00Z"}}
"#;

pub(crate) const USERS: &str = r#"{"_id":{"$oid":"6158913c04f8996da763b7a9"},"email":"isolde@example.com","name":"Isolde","role":"author","createdDate":{"$date":"2021-10-02T17:05:00Z"},"updatedDate":{"$date":"2021-10-02T17:05:00Z"}}
"#;

/// Writes the site as an export of its database.
pub(crate) fn write(folder: &Folder) {
    let files = [("stories", STORIES), ("projects", PROJECTS), ("pages", PAGES), ("users", USERS)];
    for (collection, lines) in files {
        folder.write(&format!("{FOLDER}/{collection}.jsonl"), lines);
    }
    folder.write(&format!("{FOLDER}/README.txt"), "Not a collection, and not a problem.");
}
