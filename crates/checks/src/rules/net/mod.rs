//! The network.

group! { net01 net02 net03 net04 net05 net06 net07 net08 net09 }
