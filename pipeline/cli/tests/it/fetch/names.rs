//! Names, asked of a name server of our own.

use std::collections::HashMap;
use std::net::UdpSocket;

use super::crawl;
use crate::corpus::{Crawl, png};
use crate::server::{Answer, Server};

/// Codes of answers (RFC 1035, 4.1.1).
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// Answers questions by the first label of the name until the process ends; where it listens.
pub(super) fn name_server() -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            if let Some(answer) = answer(&packet[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

/// The answer to a question for an address of IPv4; none where the server is mute.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while question[end] != 0 {
        end += 1 + usize::from(question[end]);
    }
    let label = &question[13..13 + usize::from(question[12])];
    let wants_v4 = question[end + 1..end + 3] == [0, 1];
    let (code, address) = match label.to_ascii_lowercase().as_slice() {
        b"mute" => return None,
        b"broken" => (SERVER_FAILURE, None),
        b"missing" => (NO_SUCH_NAME, None),
        _ => (0, Some([127, 0, 0, 1])),
    };
    let address = address.filter(|_| wants_v4);
    // The head: the question's id, that this is an answer with recursion, the code, one question, and as many answers.
    let mut answer = vec![question[0], question[1], 0x81, 0x80 | code, 0, 1];
    answer.extend([0, u8::from(address.is_some()), 0, 0, 0, 0]);
    answer.extend(&question[12..end + 5]);
    if let Some(address) = address {
        // The name of the question, type A, class IN, a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_server_says_is_the_outcome() {
    let mut own = Crawl::new();
    own.settings.fetch.name_server = name_server().to_string();
    own.settings.fetch.dns_timeout_secs = 5;
    let server = Server::start(HashMap::from([("/a.png".to_owned(), Answer::Body(png(1)))]));
    let port = server.base.rsplit(':').next().unwrap();
    let cases = [
        ("good.example.com", "ok"),
        ("GOOD.example.net.", "ok"),
        ("my_img.example.org", "ok"),
        ("missing.example.edu", "unknown_host"),
        ("broken.example.cn", "dns"),
        ("mute.example.de", "dns"),
    ];
    let urls = cases.map(|(host, _)| format!("http://{host}:{port}/a.png"));
    crawl(&own, &urls).await.unwrap();
    for ((host, outcome), url) in cases.iter().zip(&urls) {
        let found = own
            .query(&format!("select outcome, detail from originals where locator = '{url}'"))
            .await;
        assert_eq!(found[0][0], *outcome, "{host}: {}", found[0][1]);
    }

    // A name that leads to this machine is not asked, whatever it is called.
    let mut guarded = Crawl::new();
    guarded.settings.fetch.allow_private_hosts = false;
    guarded.settings.fetch.name_server = name_server().to_string();
    crawl(&guarded, &urls[..1]).await.unwrap();
    let found = guarded.query("select outcome from originals").await;
    assert_eq!(found, [["private_host"]]);
}
