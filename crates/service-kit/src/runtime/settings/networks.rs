//! Settings that are networks.

use std::{net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, de};

use super::comma_separated::CommaSeparated;

/// A list of networks such as `10.0.0.0/8`, and of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Returns the addresses of this machine itself.
    pub fn loopback() -> Self {
        let (v4, v6) =
            (Ipv4Net::new_assert([127, 0, 0, 0].into(), 8), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        Self(vec![v4.into(), v6.into()])
    }

    /// Returns `true` if one of the networks has this address. An IPv4 address within IPv6
    /// (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CommaSeparated(texts) = CommaSeparated::deserialize(deserializer)?;
        let parse = |text: &String| {
            let address = || IpAddr::from_str(text).map(|address| address.to_canonical().into());
            text.parse().or_else(|_| address()).map_err(|_| {
                de::Error::custom(format!(
                    "{text:?} is no network such as 10.0.0.0/8 or fd00::/8, and no address"
                ))
            })
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn networks_and_addresses_contain_their_addresses() {
        let networks: Networks =
            from_value(json!("10.1.0.0/16, 192.0.2.7, fd00::/8,2001:db8::1")).unwrap();
        for inside in ["10.1.255.255", "::ffff:10.1.0.1", "192.0.2.7", "fd12::34", "2001:db8::1"] {
            assert!(networks.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.2.0.0", "192.0.2.8", "127.0.0.1", "fe80::1", "2001:db8::2", "::1"] {
            assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
        }
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(Networks::loopback().contains(loopback.parse().unwrap()), "{loopback}");
        }
        assert!(!Networks::loopback().contains("10.0.0.1".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "proxy.internal", "10.0.0", "private", "*"] {
            let error = from_value::<Networks>(json!([wrong])).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
