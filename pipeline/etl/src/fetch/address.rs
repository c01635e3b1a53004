//! Which addresses and ports may be asked. In: an address, a URL. Out: whether it is public. A crawl's rows are strangers' input: without
//! this a row could make tuwen read a service of the machine it runs on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Ports of other protocols than HTTP. Source: the fetch standard, "bad port".
const BAD_PORTS: [u16; 82] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697,
];

/// The last of them, apart because it is the only one of five digits.
const BAD_PORT_AMANDA: u16 = 10_080;

/// Networks of IPv4 that are not the public internet, with the length of their prefix. Source: the IANA registry of special-purpose
/// addresses (RFC 6890 and its updates), multicast (RFC 5771) and what is reserved (RFC 1112).
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
];

/// From here on all is multicast or reserved.
const FIRST_MULTICAST: u8 = 224;

/// Networks within 2000::/3 that are special all the same: IETF protocols (Teredo, benchmarking, ORCHID among them), documentation
/// (two), 6to4, and AS112.
const SPECIAL_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// The only network of IPv6 that is public: global unicast.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether `address` is in the public internet: not loopback, private, link-local, shared, multicast, documentation, ….
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4() {
            Some(v4) => is_public_v4(v4),
            None => {
                lies_in_v6(v6, GLOBAL_UNICAST)
                    && !SPECIAL_V6.iter().any(|network| lies_in_v6(v6, *network))
            }
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let is_special = |(network, length): &(Ipv4Addr, u32)| {
        (v4.to_bits() ^ network.to_bits()) >> (u32::BITS - length) == 0
    };
    v4.octets()[0] < FIRST_MULTICAST && !SPECIAL_V4.iter().any(is_special)
}

fn lies_in_v6(v6: Ipv6Addr, (network, length): (Ipv6Addr, u32)) -> bool {
    (v6.to_bits() ^ network.to_bits()) >> (u128::BITS - length) == 0
}

/// The address that `url` names outright; names have theirs when they are resolved.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(v4)) => Some(v4.into()),
        Some(Host::Ipv6(v6)) => Some(v6.into()),
        _ => None,
    }
}

/// Whether browsers ask `port` for pages.
pub(crate) fn is_bad_port(port: u16) -> bool {
    port == BAD_PORT_AMANDA || BAD_PORTS.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("100.63.255.255", true),
            ("172.32.0.1", true),
            ("198.20.0.1", true),
            ("223.255.255.255", true),
            ("2400:3200::1", true),
            ("2001:200::1", true),
            ("2001:4860:4860::8888", true),
            ("::ffff:8.8.8.8", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:2::1", false),
            ("2001:10::1", false),
            ("2001:20::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
            ("3fff:fff:ffff::1", false),
            ("5f00::1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn ports_of_other_protocols_are_bad() {
        assert!([22, 25, 6667, 10_080].into_iter().all(is_bad_port));
        assert!(![80, 443, 8080, 8443, 3000].into_iter().any(is_bad_port));
    }
}
