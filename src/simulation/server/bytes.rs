//! The bytes of packets. What is read is held to the letter of MQTT, apart from rumqttc's codec: the client writes with that, and
//! wouldn't see its own mistakes.

use bytes::Bytes;

/// Which rule a packet breaks.
pub(in crate::simulation) type Broken = String;

/// Takes a packet apart.
pub(in crate::simulation) struct Reader<'a>(pub(in crate::simulation) &'a [u8]);

/// What a property says (MQTT 5, 2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) enum PropertyValue {
    Number(u32),
    Text(String),
    Binary(Bytes),
    Pair(String, String),
}

impl<'a> Reader<'a> {
    pub(in crate::simulation) fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("the packet is shorter than its parts")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(in crate::simulation) fn u8(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }

    pub(in crate::simulation) fn u16(&mut self) -> Result<u16, Broken> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn variable(&mut self) -> Result<usize, Broken> {
        let (length, value) = variable(self.0)?.ok_or("a variable byte integer that doesn't end")?;
        self.take(length)?;
        Ok(value)
    }

    pub(in crate::simulation) fn binary(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.u16()?;
        self.take(length.into())
    }

    pub(in crate::simulation) fn text(&mut self) -> Result<String, Broken> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| "a text that isn't UTF-8 [MQTT-1.5.4-1]")?;
        match text.contains('\0') {
            true => Err("a text with U+0000 [MQTT-1.5.4-2]".to_owned()),
            false => Ok(text.to_owned()),
        }
    }

    pub(in crate::simulation) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Nothing may be left.
    pub(in crate::simulation) fn end(&self) -> Result<(), Broken> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes behind the end of the packet's parts")),
        }
    }

    /// Properties of MQTT 5, of which only these are `allowed` here.
    pub(in crate::simulation) fn properties(&mut self, allowed: &[u8]) -> Result<Vec<(u8, PropertyValue)>, Broken> {
        let length = self.variable()?;
        let mut reader = Reader(self.take(length)?);
        let mut properties: Vec<(u8, PropertyValue)> = Vec::new();
        while !reader.0.is_empty() {
            let identifier = reader.u8()?;
            if !allowed.contains(&identifier) {
                return Err(format!("the property 0x{identifier:02x}, which this packet can't have (2.2.2.2)"));
            }
            let is_twice = properties.iter().any(|(other, _)| *other == identifier);
            if is_twice && identifier != USER_PROPERTY {
                return Err(format!("the property 0x{identifier:02x} twice (2.2.2.2)"));
            }
            properties.push((identifier, reader.value(identifier)?));
        }
        Ok(properties)
    }

    fn value(&mut self, identifier: u8) -> Result<PropertyValue, Broken> {
        Ok(match identifier {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => PropertyValue::Number(self.u8()?.into()),
            0x13 | 0x21..=0x23 => PropertyValue::Number(self.u16()?.into()),
            0x02 | 0x11 | 0x18 | 0x27 => PropertyValue::Number(self.u32()?),
            0x0b => PropertyValue::Number(u32::try_from(self.variable()?).unwrap_or(u32::MAX)),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => PropertyValue::Text(self.text()?),
            USER_PROPERTY => PropertyValue::Pair(self.text()?, self.text()?),
            0x09 | 0x16 => PropertyValue::Binary(Bytes::copy_from_slice(self.binary()?)),
            _ => return Err(format!("the unknown property 0x{identifier:02x}")),
        })
    }
}

pub(in crate::simulation) const USER_PROPERTY: u8 = 0x26;

/// A variable byte integer (MQTT 5, 1.5.5): how many bytes it has, and its value. `None`: there is more to come.
pub(in crate::simulation) fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match *byte == 0 && index > 0 {
                true => Err("a length in more bytes than it needs [MQTT-1.5.5-1]".to_owned()),
                false => Ok(Some((index + 1, value))),
            };
        }
    }
    match bytes.len() {
        0..4 => Ok(None),
        _ => Err("a length of more than four bytes (2.2.3)".to_owned()),
    }
}

pub(in crate::simulation) fn put_variable(mut value: usize, output: &mut Vec<u8>) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        output.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

pub(in crate::simulation) fn put_binary(bytes: &[u8], output: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("the server writes no such text");
    output.extend(length.to_be_bytes());
    output.extend(bytes);
}

/// A whole packet: `first` is its type with its flags.
pub(in crate::simulation) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    put_variable(body.len(), &mut packet);
    packet.extend(body);
    packet
}
