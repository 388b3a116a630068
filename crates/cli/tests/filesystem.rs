//! Real input: the official Python SDK as the client, `run` before the official npm file server, the starter bundle of `init`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{node_modules, python, run, script, warrantor};
use tempfile::TempDir;

/// Files of a person, a bundle from `init`, a data directory.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(files.root().join("notes/sub")).unwrap();
        fs::create_dir_all(files.root().join("notesx")).unwrap();
        fs::write(files.root().join("a.txt"), "hello\n").unwrap();
        run(warrantor()
            .arg("init")
            .arg(files.path("bundle"))
            .args(["--person", "alice", "--root"])
            .arg(files.root()));
        run(warrantor().arg("check").arg(files.path("bundle")));
        files
    }

    /// Canonical: the file server compares real paths.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn server(&self) -> Vec<String> {
        let program = node_modules().join(".bin/mcp-server-filesystem");
        vec![text(&program), text(&self.root())]
    }

    fn wrapped(&self) -> Vec<String> {
        let (bundle, data) = (text(&self.path("bundle")), text(&self.path("data")));
        let words = [
            "run",
            "--bundle",
            &bundle,
            "--server",
            "files",
            "--mandate",
            "tidy-notes",
            "--data",
            &data,
            "--",
        ];
        let mut command = vec![env!("CARGO_BIN_EXE_warrantor").to_owned()];
        command.extend(words.map(str::to_owned));
        command.extend(self.server());
        command
    }

    /// A path below the root, as an argument.
    fn below(&self, name: &str) -> Value {
        json!(format!("{}/{name}", text(&self.root())))
    }

    /// Every file below the directory that holds root, bundle and all, but for what Warrantor itself keeps.
    fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.root()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    found.insert(path.clone(), Vec::new());
                    left.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What the SDK's client hears from a command.
fn client(command: &[String], mode: &str, steps: &[Value]) -> (String, Vec<Value>) {
    let mut child = Command::new(python())
        .arg("-I")
        .arg(script("client.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let order = json!({ "command": command, "mode": mode, "steps": steps });
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let told: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{cause}: {stderr}"));
    let heard = told["steps"].as_array().unwrap().clone();
    assert_eq!(heard.len(), steps.len());
    (told["version"].as_str().unwrap().to_owned(), heard)
}

fn call(tool: &str, arguments: impl Into<Value>) -> Value {
    json!(["call", tool, arguments.into()])
}

/// The refusal in a result, where its place is.
fn refusal(result: &Value) -> Option<Value> {
    let structured =
        result.get("structuredContent").filter(|structured| structured.get("decision").is_some());
    structured.or_else(|| result["_meta"].get("dev.warrantor/refusal")).cloned()
}

/// What is written for a model, without the decision's id.
fn words(result: &Value) -> String {
    let told = refusal(result).unwrap_or_else(|| panic!("{result}"));
    assert_eq!(result["isError"], true, "{result}");
    result["content"][0]["text"].as_str().unwrap().replace(told["decision"].as_str().unwrap(), "…")
}

fn names(list: &Value) -> Vec<&str> {
    list["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

/// Contents that something on the way could change.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let big: String = (0u32..)
        .map(|n| format!("line {n}: äöü 😀 \\ \" \t end\n"))
        .scan(0, |size, line| {
            *size += line.len();
            (*size <= 1 << 20).then_some(line)
        })
        .collect();
    vec![
        ("empty.txt", Vec::new()),
        ("plain.txt", b"one\ntwo\r\nthree\rfour without end".to_vec()),
        (
            "unicode ä😀.txt",
            "é e\u{301} \u{feff} \u{2028}\u{2029} \u{202e}rtl \u{200b} \u{1f469}\u{200d}\u{1f4bb} 中文\n"
                .as_bytes()
                .to_vec(),
        ),
        ("controls.txt", (1u8..0x20).chain([0x7f]).collect()),
        ("json.txt", br#"{"a":1.10,"n":12345678901234567890123,"u":"\u00e9\/"}"#.to_vec()),
        ("protocol.txt", br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.repeat(3)),
        ("big.txt", big.into_bytes()),
    ]
}

#[test]
fn granted_reads_pass_byte_for_byte_as_without_us() {
    let files = Files::new();
    let contents = contents();
    for (name, bytes) in &contents {
        fs::write(files.root().join(name), bytes).unwrap();
    }
    fs::write(files.root().join("picture.png"), (0..=255u8).cycle().take(4096).collect::<Vec<u8>>()).unwrap();
    let mut steps: Vec<Value> = contents
        .iter()
        .map(|(name, _)| call("read_text_file", json!({ "path": files.below(name) })))
        .collect();
    steps.push(call("read_media_file", json!({ "path": files.below("picture.png") })));
    steps.push(call("list_directory", json!({ "path": files.below("") })));
    steps.push(call("directory_tree", json!({ "path": files.below("notes") })));
    steps.push(call("read_text_file", json!({ "path": files.below("plain.txt"), "head": 1 })));
    steps.push(call("read_text_file", json!({ "path": files.below("not there") })));
    steps.push(call("list_allowed_directories", json!({})));
    let (version, direct) = client(&files.server(), "legacy", &steps);
    let (wrapped_version, wrapped) = client(&files.wrapped(), "legacy", &steps);
    assert_eq!((version.as_str(), wrapped_version.as_str()), ("2025-11-25", "2025-11-25"));
    for ((step, direct), wrapped) in steps.iter().zip(&direct).zip(&wrapped) {
        assert_eq!(direct, wrapped, "{step}");
    }
    for ((name, bytes), result) in contents.iter().zip(&wrapped) {
        assert_eq!(result["content"][0]["text"].as_str().unwrap().as_bytes(), bytes, "{name}");
    }
}

#[test]
fn a_client_that_probes_for_the_newer_era_falls_back_as_without_us() {
    let files = Files::new();
    let steps = [json!(["list"]), call("read_text_file", json!({ "path": files.below("a.txt") }))];
    let direct = client(&files.server(), "auto", &steps);
    let wrapped = client(&files.wrapped(), "auto", &steps);
    assert_eq!(direct.0, wrapped.0);
    assert_eq!(direct.1[1], wrapped.1[1]);
    // What is listed is listed as the server defines it.
    let of = |list: &Value| -> BTreeMap<String, Value> {
        let tools = list["tools"].as_array().unwrap().iter();
        tools.map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect()
    };
    let (there, here) = (of(&direct.1[0]), of(&wrapped.1[0]));
    assert!(here.len() > 5 && here.iter().all(|(name, tool)| there.get(name) == Some(tool)), "{here:#?}");
    // A policy of the starter closes this one whatever its arguments.
    assert!(there.contains_key("read_multiple_files"));
}

#[test]
fn writes_within_the_notes_take_effect_exactly() {
    let files = Files::new();
    let contents: Vec<(&str, Vec<u8>)> = contents()
        .into_iter()
        .filter(|(_, bytes)| bytes.len() < 100_000 && std::str::from_utf8(bytes).is_ok())
        .collect();
    let mut steps: Vec<Value> = contents
        .iter()
        .map(|(name, bytes)| {
            let content = String::from_utf8(bytes.clone()).unwrap();
            call("write_file", json!({ "path": files.below(&format!("notes/{name}")), "content": content }))
        })
        .collect();
    steps.push(call("create_directory", json!({ "path": files.below("notes/new/deep") })));
    steps.push(call(
        "move_file",
        json!({ "source": files.below("notes/plain.txt"), "destination": files.below("notes/new/moved.txt") }),
    ));
    steps.push(call(
        "move_file",
        json!({ "source": files.below("notes/new/moved.txt"), "destination": files.below("moved out.txt") }),
    ));
    steps.push(call(
        "write_file",
        json!({ "path": files.below("notes/x.txt"), "content": "x".repeat(100_001) }),
    ));
    let (_, heard) = client(&files.wrapped(), "legacy", &steps);
    let (refused, passed) = (&heard[heard.len() - 2..], &heard[..heard.len() - 2]);
    for (step, result) in steps.iter().zip(passed) {
        assert!(refusal(result).is_none() && result["isError"] != true, "{step}: {result}");
    }
    for result in refused {
        assert_eq!(refusal(result).unwrap()["reason"], "argument_out_of_bounds", "{result}");
    }
    for (name, bytes) in contents.iter().filter(|(name, _)| *name != "plain.txt") {
        assert_eq!(&fs::read(files.root().join("notes").join(name)).unwrap(), bytes, "{name}");
    }
    assert!(files.root().join("notes/new/moved.txt").exists() && !files.root().join("notes/x.txt").exists());
}

/// Ways out of the notes, or ways of writing the way that readers take differently. `ROOT` stands for the root.
const WAYS_OUT: &[&str] = &[
    "ROOT/x.txt",
    "ROOT/notes/../x.txt",
    "ROOT/notes/./x.txt",
    "ROOT/notes/sub/../../x.txt",
    "ROOT/notes/..",
    "ROOT/notes/../notes/x.txt",
    "ROOT/notes/.../../x.txt",
    "ROOT/notesx/x.txt",
    "ROOT/notes.txt",
    "ROOT/NOTES/x.txt",
    "ROOT//notes/../x.txt",
    "ROOT/notes//../x.txt",
    "/etc/warrantor-test",
    "/tmp/warrantor-test",
    "x.txt",
    "notes/x.txt",
    "./ROOT/notes/x.txt",
    "../x.txt",
    "~/x.txt",
    "ROOT/notes/~/../../x.txt",
    "~root/x.txt",
    "$HOME/x.txt",
    "ROOT/notes/%2e%2e/x.txt",
    "ROOT/notes/%2E%2E/x.txt",
    "ROOT/notes/..%2fx.txt",
    "ROOT/notes%2f..%2fx.txt",
    "ROOT/notes/%252e%252e/x.txt",
    "ROOT/notes/%5c..%5cx.txt",
    "ROOT/notes/%00/x.txt",
    "ROOT\\notes\\x.txt",
    "ROOT/notes\\..\\x.txt",
    "ROOT/notes/..\\x.txt",
    "C:\\x.txt",
    "\\\\server\\share\\x.txt",
    "file://ROOT/notes/x.txt",
    "file:ROOT/notes/x.txt",
    "ROOT/notes/\u{ff0e}\u{ff0e}/x.txt",
    "ROOT/notes\u{ff0f}..\u{ff0f}x.txt",
    "ROOT/notes/\u{2025}/x.txt",
    "ROOT/notes/.\u{200b}./x.txt",
    "ROOT/no\u{200b}tes/x.txt",
    "ROOT/notes/\u{202e}x.txt",
    "ROOT/notes/e\u{301}.txt",
    "ROOT/notes/x\u{0}.txt",
    "ROOT/notes/x\n.txt",
    "ROOT/notes/x\t.txt",
    "ROOT/notes/\u{7f}x.txt",
    "\u{feff}ROOT/notes/x.txt",
    " ROOT/notes/x.txt",
    "",
    " ",
    "/",
    ".",
    "..",
];

#[test]
fn no_way_of_writing_a_path_leads_out_of_the_notes() {
    let files = Files::new();
    let root = text(&files.root());
    let before = files.tree();
    let mut steps = Vec::new();
    for path in WAYS_OUT {
        let path = path.replace("ROOT", &root);
        steps.push(call("write_file", json!({ "path": path, "content": "out" })));
        steps.push(call("create_directory", json!({ "path": path })));
        steps.push(call("move_file", json!({ "source": files.below("notes/sub"), "destination": path })));
        steps.push(call(
            "edit_file",
            json!({ "path": path, "edits": [{ "oldText": "hello", "newText": "out" }] }),
        ));
    }
    let (_, heard) = client(&files.wrapped(), "legacy", &steps);
    for (step, result) in steps.iter().zip(&heard) {
        let told = refusal(result).unwrap_or_else(|| panic!("{step} was not refused: {result}"));
        let reason = told["reason"].as_str().unwrap();
        assert!(["argument_out_of_bounds", "arguments_invalid"].contains(&reason), "{step}: {result}");
        assert_eq!(result["isError"], true);
    }
    assert_eq!(files.tree(), before, "something took effect");
    assert!(!Path::new("/etc/warrantor-test").exists() && !Path::new("/tmp/warrantor-test").exists());
}

#[test]
fn arguments_that_the_tool_does_not_have_or_that_are_of_another_type_are_refused() {
    let files = Files::new();
    let before = files.tree();
    let path = files.below("notes/x.txt");
    let steps: Vec<Value> = [
        json!({ "path": path, "content": "x", "mode": "append" }),
        json!({ "path": path, "content": "x", "Path": "/etc/passwd" }),
        json!({ "path": [path], "content": "x" }),
        json!({ "path": { "toString": path }, "content": "x" }),
        json!({ "path": 7, "content": "x" }),
        json!({ "path": null, "content": "x" }),
        json!({ "path": path }),
        json!({ "path": path, "content": 7 }),
        json!({}),
    ]
    .into_iter()
    .map(|arguments| call("write_file", arguments))
    .collect();
    let (_, heard) = client(&files.wrapped(), "legacy", &steps);
    for (step, result) in steps.iter().zip(&heard) {
        assert_eq!(
            refusal(result).unwrap_or_else(|| panic!("{step}: {result}"))["reason"],
            "arguments_invalid",
            "{step}"
        );
    }
    assert_eq!(files.tree(), before);
}

#[test]
fn what_the_policies_close_stays_closed_within_what_is_granted() {
    let files = Files::new();
    fs::create_dir_all(files.root().join(".ssh")).unwrap();
    for name in [".env", ".env.local", ".ssh/id_ed25519", "notes/.env"] {
        fs::write(files.root().join(name), "SECRET=1").unwrap();
    }
    let read = |name: &str| call("read_text_file", json!({ "path": files.below(name) }));
    let steps = [
        read(".env"),
        read(".env.local"),
        read(".ssh/id_ed25519"),
        read("notes/.env"),
        call("write_file", json!({ "path": files.below("notes/.env"), "content": "x" })),
        call("read_multiple_files", json!({ "paths": [files.below("a.txt")] })),
        call("read_multiple_files", json!({ "paths": [files.below("a.txt"), files.below(".env")] })),
    ];
    let (_, heard) = client(&files.wrapped(), "legacy", &steps);
    for (step, result) in steps.iter().zip(&heard) {
        assert_eq!(
            refusal(result).unwrap_or_else(|| panic!("{step}: {result}"))["reason"],
            "policy_forbids",
            "{step}"
        );
        assert!(
            !result.to_string().contains("SECRET") && !result.to_string().contains("secrets-stay-closed"),
            "{result}"
        );
    }
}

#[test]
fn links_are_the_file_servers_to_judge() {
    let files = Files::new();
    fs::create_dir_all(files.path("outside")).unwrap();
    symlink(files.path("outside"), files.root().join("notes/out")).unwrap();
    let steps = [call("write_file", json!({ "path": files.below("notes/out/x.txt"), "content": "x" }))];
    let (_, heard) = client(&files.wrapped(), "legacy", &steps);
    // Our bound looks at the text of a path, so this passes; the server follows the link and refuses.
    assert!(refusal(&heard[0]).is_none(), "{}", heard[0]);
    assert_eq!(heard[0]["isError"], true, "{}", heard[0]);
    assert!(!files.path("outside/x.txt").exists());
}

/// A mandate for one reading tool, below the notes.
const NARROW: &str = "grants:
  - tool: files/read_text_file
    arguments: { path: { within: NOTES } }
  - tool: files/get_file_info
    arguments: { path: { within: NOTES } }
";

#[test]
fn tools_that_are_not_granted_are_not_listed_and_answer_like_tools_that_do_not_exist() {
    let files = Files::new();
    let path = files.path("bundle/mandates/tidy-notes.yaml");
    let mandate = fs::read_to_string(&path).unwrap();
    let (head, _) = mandate.split_once("grants:").unwrap();
    let notes = format!("{:?}", text(&files.root().join("notes")));
    fs::write(&path, format!("{head}{}", NARROW.replace("NOTES", &notes))).unwrap();
    fs::write(files.root().join("notes/n.txt"), "mine").unwrap();
    let notes = json!({ "path": files.below("notes") });
    let steps = [
        json!(["list"]),
        call("read_text_file", json!({ "path": files.below("notes/n.txt") })),
        call("read_text_file", json!({ "path": files.below("a.txt") })),
        call("no_such_tool", notes.clone()),
        call("list_directory", notes.clone()),
        call("write_file", json!({ "path": files.below("notes/n.txt"), "content": "theirs" })),
        call("directory_tree", json!({})),
        call("read_text_file/../write_file", notes.clone()),
        call("READ_TEXT_FILE", notes),
    ];
    let (_, heard) = client(&files.wrapped(), "legacy", &steps);
    assert_eq!(names(&heard[0]), ["read_text_file", "get_file_info"]);
    assert_eq!(heard[1]["content"][0]["text"], "mine");
    assert_eq!(refusal(&heard[2]).unwrap()["reason"], "argument_out_of_bounds");
    let unknown = words(&heard[3]);
    assert!(unknown.contains("tool_not_available"), "{unknown}");
    for (step, result) in steps.iter().zip(&heard).skip(4) {
        assert_eq!(words(result), unknown, "{step} answers otherwise than a tool that does not exist");
    }
    assert_eq!(fs::read(files.root().join("notes/n.txt")).unwrap(), b"mine");
}

#[test]
fn the_newer_era_passes_through_to_a_server_that_speaks_it() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/bundle");
    let program = env!("CARGO_BIN_EXE_warrantor").to_owned();
    let world = vec![program.clone(), "demo-world".to_owned()];
    let (bundle, data) = (text(&bundle), text(&directory.path().join("data")));
    let words =
        ["run", "--bundle", &bundle, "--server", "office", "--mandate", "pay-october", "--data", &data, "--"];
    let mut wrapped = vec![program];
    wrapped.extend(words.map(str::to_owned));
    wrapped.extend(world.clone());
    let steps = [
        json!(["list"]),
        call("list_files", json!({ "directory": "/invoices" })),
        call("list_payees", json!({})),
        call("no_such_tool", json!({})),
        call("list_transactions", json!({})),
    ];
    for (mode, version) in [("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")] {
        let (direct_version, direct) = client(&world, mode, &steps[..3]);
        let (wrapped_version, heard) = client(&wrapped, mode, &steps);
        assert_eq!((direct_version.as_str(), wrapped_version.as_str()), (version, version));
        assert!(names(&heard[0]).len() < names(&direct[0]).len(), "{mode}: nothing is hidden");
        assert!(heard[1]["isError"] != true && heard[2]["isError"] != true, "{mode}: {heard:#?}");
        assert_eq!(direct[1..3], heard[1..3], "{mode}");
        assert_eq!(self::words(&heard[3]), self::words(&heard[4]), "{mode}");
    }
}
