//! Two devices with one client id. MQTT 5 says so; in MQTT 3.1.1 the server just closes, and only the pattern tells: the other
//! device connects again each time, and ours is closed again soon after.

use std::time::Duration;

use super::{LinkError, TcpFault};

/// A connection that ends within this after its CONNACK ended soon: the other device waits at most its backoff, 2 min by
/// default.
const SOON: Duration = Duration::from_secs(150);

/// So many in a row are no accident.
const TIMES: u32 = 3;

/// Counts the connections that the server closed soon, without a reason, and with nothing in flight that could be one. A server
/// that takes no connection meanwhile was stopped, and has closed them for that: nothing is known of another device. Pure.
#[derive(Debug, Default)]
pub(crate) struct Closes {
    pub(super) in_a_row: u32,
}

impl Closes {
    /// A connection has ended so, which had lived for `lived` after its CONNACK; `None`: there was none. Returns what it means
    /// in the light of those before it. Failures on the way to CONNACK neither add to the row nor end it, unless the server isn't
    /// there: the network says nothing, nor does what refuses us because the other device has just connected.
    pub(crate) fn ended(&mut self, error: LinkError, lived: Option<Duration>) -> LinkError {
        let Some(lived) = lived else {
            if matches!(&error, LinkError::Tcp { attempts, .. } if TcpFault::of(attempts) == TcpFault::Refused) {
                self.in_a_row = 0;
            }
            return error;
        };
        match error {
            LinkError::ClosedByServer { peer, last_sent } if last_sent.is_empty() && lived <= SOON => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                match self.in_a_row {
                    TIMES.. => LinkError::TakenOver { peer, times: self.in_a_row, lived },
                    _ => LinkError::ClosedByServer { peer, last_sent },
                }
            }
            other => {
                self.in_a_row = 0;
                other
            }
        }
    }
}
