//! What is said to AWS IoT Jobs.
