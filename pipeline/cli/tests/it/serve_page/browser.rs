//! The pages as somebody sees them: in Chromium, by keys alone, in a narrow window, in the dark, in Chinese; and what was crawled,
//! which runs nothing and loads nothing.

use serde_json::json;

use super::chromium::Chromium;
use super::http::Serving;
use super::{CORPUS, HOSTILE, column, scrolled, serving};

#[test]
fn nothing_that_was_crawled_runs_and_nothing_is_asked_elsewhere() {
    let Some(browser) = Chromium::start() else { return };
    let serving = serving();
    let mut paths = vec![
        "/".to_owned(),
        "/?q=%3Cimg%20src%3Dx%20onerror%3Dwindow.xss%3D1%3E".to_owned(),
        "/?where=%22%3E%3Cscript%3Ewindow.xss%3D1%3C/script%3E".to_owned(),
        "/?split=%22%3E%3Cscript%3Ewindow.xss%3D1%3C/script%3E".to_owned(),
        "/%3Cscript%3Ewindow.xss=1%3C/script%3E".to_owned(),
    ];
    let hostile = scrolled(&serving, "/?where=source%20%3D%20%27hostile.csv%27");
    assert!(hostile.len() >= HOSTILE.len());
    paths.extend(hostile);
    for path in &paths {
        browser.open(&format!("{}{path}", serving.base));
        assert_eq!(browser.eval("typeof window.xss"), json!("undefined"), "{path}");
        assert_eq!(browser.eval("document.querySelectorAll('iframe, base, meta[http-equiv], main script, main style').length"), json!(0), "{path}");
        let strange = "[...document.querySelectorAll('a')].filter((a) => a.origin !== location.origin).map((a) => a.href)";
        assert_eq!(browser.eval(strange), json!([]), "{path}");
        assert_eq!(browser.eval("location.origin"), json!(serving.base), "{path}");
    }
    for request in browser.events("Network.requestWillBeSent") {
        let url = request["request"]["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&serving.base) || url == "about:blank", "{url}");
    }
    assert_eq!(browser.events("Page.javascriptDialogOpening").len(), 0);
    // Nor does the policy have to stop the pages' own scripts and styles.
    let stopped: Vec<_> = browser
        .events("Log.entryAdded")
        .into_iter()
        .filter(|entry| entry["entry"]["source"] == json!("security"))
        .collect();
    assert_eq!(stopped, [json!(null); 0], "{stopped:?}");
    assert_eq!(browser.events("Runtime.exceptionThrown"), Vec::<serde_json::Value>::new());
}

#[test]
fn who_has_the_token_comes_in() {
    let Some(browser) = Chromium::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, token) = (folder.path().join("token"), "0123456789abcdef0123456789abcdef");
    std::fs::write(&file, token).unwrap();
    let serving = Serving::start(CORPUS.path(), &["--token-file", &file.display().to_string()]);
    browser.open(&format!("{}/", serving.base));
    browser.wait("document.activeElement.id === 'token'");
    browser.call("Input.insertText", json!({ "text": token }));
    browser.press("Enter");
    browser.wait("document.querySelectorAll('#tiles > li').length > 0");
}

#[test]
fn the_gallery_goes_on_as_it_is_read() {
    let Some(browser) = Chromium::start() else { return };
    let serving = serving();
    let all = column("select count(*) from examples")[0].parse::<u64>().unwrap();
    browser.open(&format!("{}/", serving.base));
    let n = "document.querySelectorAll('#tiles > li').length";
    browser.wait(&format!("(scrollTo(0, document.body.scrollHeight), {n} === {all})"));
    let places = "new Set([...document.querySelectorAll('[data-tile]')].map((a) => a.href)).size";
    assert_eq!(browser.eval(places), json!(all), "no row twice");
    browser.wait("document.querySelector('#more').innerText.includes('last')");
    // Who does not see it is told.
    assert!(
        browser
            .eval("document.querySelector('#told').textContent")
            .as_str()
            .unwrap()
            .ends_with(&all.to_string())
    );
    // Pictures come, and nothing jumps when they do: their place is kept.
    browser.wait("(scrollTo(0, 0), [...document.images].slice(0, 6).every((i) => i.complete && i.naturalWidth > 0))");
    assert_eq!(
        browser
            .eval("[...document.images].every((i) => i.alt !== '' && i.width > 0 && i.height > 0)"),
        json!(true)
    );
}

#[test]
fn keys_alone_are_enough() {
    let Some(browser) = Chromium::start() else { return };
    let serving = serving();
    let url = format!("{}/?split=train", serving.base);
    browser.open(&url);
    browser.press("Tab");
    assert_eq!(browser.eval("document.activeElement.className"), json!("skip"));
    assert_eq!(
        browser.eval("document.activeElement.getBoundingClientRect().top >= 0"),
        json!(true),
        "it is seen"
    );
    browser.press("Enter");
    browser.wait("document.activeElement.id === 'main'");
    browser.press("j");
    let here = "[...document.querySelectorAll('[data-tile]')].indexOf(document.activeElement)";
    browser.wait(&format!("{here} === 0"));
    browser.press("j");
    browser.press("ArrowRight");
    browser.wait(&format!("{here} === 2"));
    browser.press("k");
    browser.wait(&format!("{here} === 1"));
    browser.press("ArrowDown");
    browser.wait(&format!("{here} > 2"));
    browser.press("ArrowUp");
    browser.wait(&format!("{here} === 1"));
    let outline = browser.eval("getComputedStyle(document.activeElement).outlineStyle");
    assert_ne!(outline, json!("none"), "the focus is seen");
    let second = browser.eval("document.activeElement.href");
    browser.press("Enter");
    browser.wait(&format!("location.href === {second} && document.readyState === 'complete'"));
    let next = browser.eval("document.querySelector('[rel=next]').href");
    browser.press("j");
    browser.wait(&format!("location.href === {next} && document.readyState === 'complete'"));
    browser.press("k");
    browser.wait(&format!("location.href === {second} && document.readyState === 'complete'"));
    browser.press("u");
    browser.wait("location.pathname === '/' && document.readyState === 'complete' && document.querySelector('[data-tile]')");
    assert_eq!(
        browser.eval("document.querySelector('[data-tile]').href"),
        second,
        "the gallery from there on"
    );
    browser.press("?");
    browser.wait("document.querySelector('#keys').open");
    browser.press("Escape");
    browser.wait("!document.querySelector('#keys').open");
    browser.press("/");
    browser.wait("document.activeElement.id === 'q'");
    // In a box keys are letters.
    browser.press("j");
    browser.wait("document.querySelector('#q').value === 'j'");
    browser.press("Enter");
    browser.wait(
        "new URL(location).searchParams.get('q') === 'j' && document.readyState === 'complete'",
    );
}

#[test]
fn pages_fit_narrow_windows_the_dark_and_both_languages() {
    let Some(browser) = Chromium::start() else { return };
    let serving = serving();
    let id =
        &column("select image_id from examples where split = 'train' order by example_id limit 1")
            [0];
    let lost =
        &column("select example_id from examples where reject_reason = 'fetch_failed' limit 1")[0];
    for lang in ["en", "zh"] {
        for path in [
            "/",
            "/?where=nothing%20%3D%201",
            &format!("/pictures/{id}"),
            &format!("/pairs/{lost}"),
            "/nothing",
            "/login",
        ] {
            let mark = if path.contains('?') { '&' } else { '?' };
            for width in [380, 700, 1600] {
                browser.resize(width);
                browser.open(&format!("{}{path}{mark}lang={lang}", serving.base));
                let wide = browser.eval("document.documentElement.scrollWidth");
                assert!(
                    wide.as_u64().unwrap() <= u64::from(width),
                    "{path} {lang}: {wide} px of {width}"
                );
            }
            // Each box has a name, each page one title, and colours that can be read.
            let nameless = "[...document.querySelectorAll('main input, main select, main button')].filter((e) => !e.hidden && !(e.labels && e.labels.length) && !e.textContent.trim()).length";
            assert_eq!(browser.eval(nameless), json!(0), "{path}");
            assert_eq!(browser.eval("document.querySelectorAll('h1').length"), json!(1), "{path}");
            for scheme in ["light", "dark"] {
                browser.prefer(scheme);
                let faint = browser.eval(CONTRAST);
                assert_eq!(faint, json!([]), "{path} {lang} {scheme}");
            }
        }
        let back = browser.eval("getComputedStyle(document.body).backgroundColor");
        browser.prefer("light");
        assert_ne!(
            browser.eval("getComputedStyle(document.body).backgroundColor"),
            back,
            "the dark is another"
        );
    }
}

/// Texts whose contrast with what is behind them is less than 4.5 to 1 (WCAG 2.2, 1.4.3 of level AA).
const CONTRAST: &str = r#"(() => {
  const rgb = (text) => {
    const n = text.match(/[\d.]+/g).map(Number);
    return text.startsWith("color(") ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const back = rgb(getComputedStyle(at).backgroundColor);
      if (back[3] > 0.99) return back;
    }
    return [255, 255, 255, 1];
  };
  const found = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".sr, .skip, option")) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.add(`${element.tagName}.${element.className}: ${ratio.toFixed(2)}`);
  }
  return [...found];
})()"#;
