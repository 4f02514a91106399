//! What is said to an adb server: a length in four letters, a request, `OKAY` or `FAIL`.

use super::Adb;
use crate::error::DeviceError;
use crate::stream::{NotConnected, Stream};
use crate::until::{Ended, Until};
use std::io;

/// Longest request an adb server takes.
// Limit: its length is four hexadecimal digits.
const REQUEST_BYTES_MAX: usize = 0xffff;

/// What is told as a reason and not as a length of some gigabytes.
const REASON_BYTES_MAX: usize = 64 << 10;

/// What a server or device answers with.
pub(super) enum Answer {
    Okay,
    Fail(String),
}

impl Adb {
    /// A connection to a service of the device.
    pub(super) fn service(&self, service: &str, until: &Until) -> Result<Stream, DeviceError> {
        let mut stream = self.connect(until)?;
        let transport = format!("host:transport:{}", self.place.serial);
        match self.ask(&mut stream, &transport, until)? {
            Answer::Okay => {}
            Answer::Fail(said) => {
                return Err(DeviceError::Unreachable {
                    device: self.address.clone(),
                    source: io::Error::other(said),
                });
            }
        }
        match self.ask(&mut stream, service, until)? {
            Answer::Okay => Ok(stream),
            Answer::Fail(said) => {
                let name = service.split(':').next().unwrap_or_default();
                let what = format!("it has no service `{name}`, which comes with Android 7: {said}");
                Err(self.nonsense("opening a service", what))
            }
        }
    }

    /// Asks the server itself for something that has an answer of no further words.
    pub(super) fn host(&self, request: &str, until: &Until) -> Result<Answer, DeviceError> {
        let mut stream = self.connect(until)?;
        self.ask(&mut stream, request, until)
    }

    fn connect(&self, until: &Until) -> Result<Stream, DeviceError> {
        Stream::connect(&self.place.host, self.place.port, until).map_err(|e| match e {
            NotConnected::Ended(ended) => self.ended("connecting", ended, until),
            NotConnected::Io(source) => {
                let (host, port) = (&self.place.host, self.place.port);
                let why = format!("no adb server answers at {host}:{port}: {source}; `adb -P {port} start-server` starts one");
                let source = io::Error::new(source.kind(), why);
                DeviceError::Unreachable { device: self.address.clone(), source }
            }
        })
    }

    fn ask(&self, stream: &mut Stream, request: &str, until: &Until) -> Result<Answer, DeviceError> {
        if request.len() > REQUEST_BYTES_MAX {
            let what =
                format!("a command of {} bytes; adb takes no more than {REQUEST_BYTES_MAX}", request.len());
            return Err(DeviceError::Senseless { what });
        }
        let doing = "asking the adb server";
        let line = format!("{:04x}{request}", request.len());
        stream.send_all(line.as_bytes(), until).map_err(|e| self.ended(doing, e, until))?;
        let status = self.take(stream, 4, doing, until)?;
        match &*status {
            b"OKAY" => Ok(Answer::Okay),
            b"FAIL" => {
                let length = self.take(stream, 4, doing, until)?;
                let length =
                    std::str::from_utf8(&length).ok().and_then(|t| usize::from_str_radix(t, 16).ok());
                let length = length.ok_or_else(|| self.nonsense(doing, "a length that is no number"))?;
                let said = self.take(stream, length, doing, until)?;
                Ok(Answer::Fail(String::from_utf8_lossy(&said).into_owned()))
            }
            other => Err(self
                .nonsense(doing, format!("{:?} comes from no adb server", String::from_utf8_lossy(other)))),
        }
    }

    /// So many bytes.
    pub(super) fn take(
        &self,
        stream: &mut Stream,
        n: usize,
        doing: &str,
        until: &Until,
    ) -> Result<Vec<u8>, DeviceError> {
        if n > REASON_BYTES_MAX {
            return Err(self.nonsense(doing, format!("{n} bytes at once")));
        }
        while stream.input().len() < n {
            if stream.fill(until).map_err(|e| self.ended(doing, e, until))? == 0 {
                return Err(self.gone(doing));
            }
        }
        let bytes = stream.input()[..n].to_vec();
        stream.consume(n);
        Ok(bytes)
    }

    pub(super) fn ended(&self, doing: &str, ended: Ended, until: &Until) -> DeviceError {
        DeviceError::ended(&self.address, doing, ended, until)
    }

    /// The connection has ended where it should not.
    pub(super) fn gone(&self, doing: &str) -> DeviceError {
        let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the adb server closed the connection");
        DeviceError::Lost { device: self.address.clone(), doing: doing.to_owned(), source }
    }
}
