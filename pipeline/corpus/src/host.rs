//! Whose a host is. In: a URL or a host name. Out: the registered domain, by the public suffix list: what one owner has, however many
//! names are below it.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use url::{Host, Url};

/// The registered domain of `url`'s host; its address where the URL names one, the host itself where no owner can be told, and none
/// where there is no host.
pub fn registered_domain(url: &Url) -> Option<String> {
    Some(match url.host()? {
        Host::Ipv4(v4) => v4.to_string(),
        Host::Ipv6(v6) => v6.to_string(),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            psl::domain_str(name).unwrap_or(name).to_owned()
        }
    })
}

/// `registered_domain(varchar) -> varchar`: [`registered_domain`] of a text, null where it is no URL with a host.
pub(crate) fn registered_domain_udf() -> ScalarUDF {
    create_udf(
        "registered_domain",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(|args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let of_text = |text: &str| registered_domain(&Url::parse(text).ok()?);
            let domains = arrays[0].as_string::<i32>().iter().map(|text| of_text(text?));
            Ok(ColumnarValue::Array(Arc::new(domains.collect::<StringArray>())))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_one_owner_registered() {
        for (url, domain) in [
            ("http://img1.example.com/a.jpg", "example.com"),
            ("http://IMG2.Example.com.:8080/", "example.com"),
            ("https://a.b.example.com.cn/", "example.com.cn"),
            ("https://someone.github.io/x", "someone.github.io"),
            ("https://图片.例子.中国/", "xn--fsqu00a.xn--fiqs8s"),
            ("http://127.0.0.1:9/", "127.0.0.1"),
            ("http://[::1]/", "::1"),
            ("http://localhost/", "localhost"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(registered_domain(&url).as_deref(), Some(domain), "{url}");
        }
        assert_eq!(registered_domain(&Url::parse("file:a.jpg").unwrap()), None);
    }
}
