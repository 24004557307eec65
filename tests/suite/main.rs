mod chaos;
