//! The terminal commands as a person or a script uses them: the black-box contract.
