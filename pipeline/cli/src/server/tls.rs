//! TLS. In: files of a certificate and its key. Out: what connections are accepted with.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tuwen_settings::WrongSetting;

/// A certificate and a key as they are made for a try; it works where it is pasted.
pub(crate) const SELF_SIGNED: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
    -subj \"/CN=$(hostname)\" -addext \"subjectAltName=DNS:$(hostname)\" -keyout key.pem -out cert.pem";

/// What both servers accept TLS with; none if no files are named.
///
/// # Errors
/// One of them cannot be read or does not hold what it should, or they do not belong to each other.
pub(crate) fn acceptor(cert_file: &str, key_file: &str) -> Result<Option<TlsAcceptor>> {
    let missing = match (cert_file, key_file) {
        ("", "") => return Ok(None),
        ("", _) => Some("serve.tls_cert, the certificate of serve.tls_key"),
        (_, "") => Some("serve.tls_key, the key of serve.tls_cert"),
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(WrongSetting(format!("TLS: expected {missing}, found nothing")).into());
    }
    let certs = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("serve.tls_cert: reading {cert_file}"))?;
    if certs.is_empty() {
        let found = "expected a certificate in PEM (-----BEGIN CERTIFICATE-----), found none";
        return Err(WrongSetting(format!("serve.tls_cert, {cert_file}: {found}")).into());
    }
    let key = PrivateKeyDer::from_pem_file(key_file).with_context(|| {
        let expected = "expected a private key in PEM (-----BEGIN PRIVATE KEY-----)";
        format!("serve.tls_key, {key_file}: {expected}")
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .with_context(|| format!("TLS: {cert_file} with {key_file}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::TempDir::new().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let empty = empty.to_str().unwrap();
        let error = |cert: &str, key: &str| format!("{:#}", acceptor(cert, key).err().unwrap());
        assert!(acceptor("", "").unwrap().is_none());
        assert_eq!(
            error("cert.pem", ""),
            "TLS: expected serve.tls_key, the key of serve.tls_cert, found nothing"
        );
        assert!(error("gone.pem", "gone.pem").starts_with("serve.tls_cert: reading gone.pem: "));
        let found = error(empty, empty);
        assert!(found.contains("expected a certificate in PEM (-----BEGIN"), "{found}");
    }
}
